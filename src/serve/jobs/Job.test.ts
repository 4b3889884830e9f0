import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TuneEvent } from '../../train/events.js';
import { followEvent, type StoredJob } from './Job.js';

const newJob = (): StoredJob => ({
  id: 'x',
  name: 'me',
  dataset: 'd',
  datasetName: 'mine',
  model: 'tiny',
  options: {},
  state: 'running',
  createdAt: '',
  seconds: 0,
  curve: { train: [], validation: [] },
  deaths: 2,
  step: 0,
});
const step = (n: number, loss = 1): TuneEvent => ({
  type: 'step',
  step: n,
  steps: 5000,
  epoch: 0,
  loss,
  learningRate: 0,
  gradientNorm: 0,
  tokensPerSecond: 0,
  rssBytes: 0,
  seconds: 0,
});

describe('followEvent', () => {
  it('draws the curve, and draws what is computed again only once', () => {
    const job = newJob();
    for (let n = 1; n <= 9; n++) followEvent(job, step(n, n));
    followEvent(job, { type: 'validation', step: 8, epoch: 1, nll: 2, best: true });
    followEvent(job, { type: 'resumed', step: 5 });
    for (let n = 6; n <= 9; n++) followEvent(job, step(n, -n));
    assert.deepEqual(
      job.curve.train,
      [1, 2, 3, 4, 5, -6, -7, -8, -9].map((loss, i) => [i + 1, loss]),
    );
    assert.deepEqual(job.curve.validation, []);
    followEvent(job, { type: 'restart', step: 9 });
    assert.deepEqual(job.curve.train, []);
  });

  it('keeps a bounded number of points, with both ends and every extreme among those dropped so far', () => {
    const job = newJob();
    const loss = (n: number) => (n === 1234 ? 99 : Math.sin(n / 50));
    for (let n = 1; n <= 5000; n++) followEvent(job, step(n, loss(n)));
    const { train } = job.curve;
    assert.ok(train.length < 800);
    assert.deepEqual([train[0]![0], train.at(-1)![0]], [1, 5000]);
    assert.ok(train.some(([n]) => n === 1234));
    for (const [n, value] of train) assert.equal(value, loss(n));
    assert.ok(train.every(([n], i) => i === 0 || n > train[i - 1]![0]));
  });

  it('forgets earlier deaths with new progress, and not with repeated work', () => {
    const job = newJob();
    job.step = 10;
    followEvent(job, step(10));
    assert.equal(job.deaths, 2);
    followEvent(job, step(11));
    assert.equal(job.deaths, 0);
  });

  it('tells apart what is of the moment', () => {
    const job = newJob();
    assert.equal(followEvent(job, { type: 'progress', stage: 'ridge', done: 1, total: 2 }).passing, true);
    assert.deepEqual(job.progress, { done: 1, total: 2 });
    assert.equal(followEvent(job, { type: 'stage', stage: 'qlora', message: '' }).passing, false);
    assert.equal(job.progress, undefined);
  });
});
