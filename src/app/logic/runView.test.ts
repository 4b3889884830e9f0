import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { JobEvent } from '../../serve/contract/jobs.js';
import { emptyRun, type RunView, withEvent } from './runView.js';

const step = (n: number, loss = 3 / n): JobEvent => ({
  type: 'step',
  step: n,
  steps: 40,
  epoch: n / 20,
  loss,
  learningRate: 1e-3,
  gradientNorm: 1,
  tokensPerSecond: 500,
  rssBytes: 5e8,
  seconds: n,
});
const validation = (n: number, nll: number): JobEvent => ({
  type: 'validation',
  step: n,
  epoch: n / 20,
  nll,
  best: true,
});

const run = (events: readonly JobEvent[], start = emptyRun()): RunView =>
  events.reduce((view, event, i) => withEvent(view, i + 1, event, 0), start);

const events: JobEvent[] = [
  { type: 'state', state: 'running', message: '' },
  { type: 'sweep', sweep: 0, nll: { train: 5, validation: 5.5 } },
  ...Array.from({ length: 20 }, (_, i) => step(i + 1)),
  validation(20, 2.5),
];

it('the curve has each step once, also when a stream repeats what it had sent', () => {
  const once = run(events);
  const again = events.reduce((view, event, i) => withEvent(view, i + 1, event, 0), once);
  assert.deepEqual(again, once);
  assert.deepEqual(
    once.train.map(({ x }) => x),
    Array.from({ length: 20 }, (_, i) => i + 1),
  );
  assert.equal(once.best, 2.5);
  assert.deepEqual(once.progress, { done: 20, total: 40 });
});

it('a page that is opened in mid-run shows what one shows that was there all along', () => {
  const half = run(events.slice(0, 9));
  const rest = events.slice(9).reduce((view, event, i) => withEvent(view, i + 10, event, 0), half);
  assert.deepEqual(rest, run(events));
});

it('steps after the checkpoint that a run goes on from are forgotten, for they are done again', () => {
  const view = run([...events, { type: 'resumed', step: 12 }, step(13, 9)]);
  assert.deepEqual(
    view.train.map(({ x }) => x),
    Array.from({ length: 13 }, (_, i) => i + 1),
  );
  assert.equal(view.train.at(-1)!.y, 9);
  assert.deepEqual(view.validation, []);
});

it('what is remembered of the log has an end', () => {
  const many = Array.from({ length: 1000 }, (_, i): JobEvent => ({ type: 'warning', message: `note ${i}` }));
  const { log } = run(many);
  assert.equal(log.length, 400);
  assert.equal(log.at(-1)!.text, 'note 999');
});

it('a run that no longer runs has no time to go', () => {
  const view = run([...events, { type: 'eta', seconds: 30 }, { type: 'state', state: 'paused', message: 'paused' }]);
  assert.equal(view.etaSeconds, undefined);
  assert.equal(view.state, 'paused');
});
