import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { eventfulRun, stepEvent, validationEvent } from '../testing/runEvents.js';
import type { TuneEvent } from './events.js';
import { followRun, isKept, type RunFigures } from './followRun.js';
import { metricsOf } from './report/writeReport.js';

const none: RunFigures = { curve: { train: [], validation: [] } };
const follow = (events: readonly TuneEvent[], from = none) => events.reduce(followRun, from);
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe('followRun', () => {
  it('draws each step once, and takes back what is done again', () => {
    const first = [...range(1, 9).map((n) => stepEvent(n, n)), validationEvent(8, 2)];
    const { curve } = follow([...first, { type: 'resumed', step: 5 }, ...range(6, 9).map((n) => stepEvent(n, -n))]);
    assert.deepEqual(
      curve.train,
      [1, 2, 3, 4, 5, -6, -7, -8, -9].map((loss, i) => [i + 1, loss]),
    );
    assert.deepEqual(curve.validation, []);
  });

  it('lets the curve stand when training goes back to earlier parameters: steps count on', () => {
    for (const event of [
      { type: 'restart', step: 9 },
      { type: 'diverged', step: 9, loss: null, backTo: 4, learningRate: 1 },
    ] satisfies TuneEvent[]) {
      const { curve } = follow([...range(1, 9).map((n) => stepEvent(n)), event, stepEvent(10)]);
      assert.deepEqual(
        curve.train.map(([step]) => step),
        range(1, 10),
      );
    }
  });

  it('takes back steps of a run that was killed before its first checkpoint', () => {
    const { curve } = follow([stepEvent(1, 9), validationEvent(1, 8), stepEvent(2, 7), stepEvent(1, 6)]);
    assert.deepEqual(curve, { train: [[1, 6]], validation: [], steps: 40 });
  });

  it('shows passes of ridge until training begins', () => {
    const pass = (sweep: number): TuneEvent => ({ type: 'sweep', sweep, nll: { train: 5, validation: 5.5 - sweep } });
    const passes = follow([pass(0), pass(1), pass(0), pass(1), pass(2)]);
    assert.deepEqual(passes.curve, {
      passes: true,
      train: [
        [0, 5],
        [1, 5],
        [2, 5],
      ],
      validation: [
        [0, 5.5],
        [1, 4.5],
        [2, 3.5],
      ],
    });
    const begun = follow([validationEvent(0, 4), stepEvent(1, 3)], passes);
    assert.deepEqual(begun.curve, { train: [[1, 3]], validation: [[0, 4]], steps: 40 });
  });

  it('keeps a bounded number of points, with both ends and every extreme among those dropped so far', () => {
    const loss = (n: number) => (n === 1234 ? 99 : Math.sin(n / 50));
    const { train } = follow(range(1, 5000).map((n) => stepEvent(n, loss(n), 5000))).curve;
    assert.ok(train.length < 800);
    assert.deepEqual([train[0]![0], train.at(-1)![0]], [1, 5000]);
    assert.ok(train.some(([n]) => n === 1234));
    for (const [n, value] of train) assert.equal(value, loss(n));
    assert.ok(train.every(([n], i) => i === 0 || n > train[i - 1]![0]));
  });

  it('tells how far the run is', () => {
    const { doing, latest, progress, quote, etaSeconds, stage } = follow(eventfulRun.slice(0, -1));
    assert.deepEqual([stage, doing, progress], ['qlora', 'training by gradients', { done: 25, total: 40 }]);
    assert.deepEqual([latest!.step, quote!.layers, etaSeconds], [25, 8, 60]);
    const next = follow(eventfulRun);
    assert.deepEqual([next.stage, next.doing, next.progress], ['measure', 'measuring', undefined]);
  });

  it('is the same wherever among the events it was put down as JSON', () => {
    const whole = JSON.stringify(follow(eventfulRun));
    for (let cut = 0; cut <= eventfulRun.length; cut++) {
      const kept = JSON.parse(JSON.stringify(follow(eventfulRun.slice(0, cut)))) as RunFigures;
      assert.equal(JSON.stringify(follow(eventfulRun.slice(cut), kept)), whole, `cut ${cut}`);
    }
  });

  it('has the curves of the report', () => {
    // As the run's folder keeps them: figures of training, rewound when it goes on from a checkpoint.
    let recorded: TuneEvent[] = [];
    for (const event of eventfulRun) {
      if (event.type === 'resumed') recorded = recorded.filter((one) => !('step' in one) || isKept(one.step, event));
      else if ('step' in event) recorded.push(event);
    }
    const metrics = metricsOf(recorded);
    const { train, validation } = follow(eventfulRun).curve;
    assert.deepEqual(
      metrics.flatMap(({ step, loss }) => (loss === undefined ? [] : [[step, loss]])),
      train,
    );
    assert.deepEqual(
      metrics.flatMap(({ step, validation: nll }) => (nll === undefined ? [] : [[step, nll]])),
      validation,
    );
  });
});
