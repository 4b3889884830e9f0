import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { JobEvent } from '../../serve/contract/jobs.js';
import { queuedJob, stepEvent, validationEvent } from '../../testing/runEvents.js';
import { curvesOf, openRun, type RunView, withEvent } from './runView.js';

const run = (events: readonly JobEvent[], start = openRun(queuedJob)): RunView =>
  events.reduce((view, event, i) => withEvent(view, i + 1, event, 0), start);

const events: JobEvent[] = [
  { type: 'state', state: 'running', message: '' },
  { type: 'sweep', sweep: 0, nll: { train: 5, validation: 5.5 } },
  ...Array.from({ length: 20 }, (_, i) => stepEvent(i + 1)),
  validationEvent(20, 2.5),
];

it('the curve has each step once, also when a stream repeats what it had sent', () => {
  const once = run(events);
  const again = events.reduce((view, event, i) => withEvent(view, i + 1, event, 0), once);
  assert.deepEqual(again, once);
  const { train, best } = curvesOf(once.job);
  assert.deepEqual(
    train.map(({ x }) => x),
    Array.from({ length: 20 }, (_, i) => i + 1),
  );
  assert.equal(best, 2.5);
  assert.deepEqual(once.job.progress, { done: 20, total: 40 });
});

it('steps after the checkpoint that a run goes on from are forgotten, for they are done again', () => {
  const { train, validation } = curvesOf(run([...events, { type: 'resumed', step: 12 }, stepEvent(13, 9)]).job);
  assert.deepEqual(
    train.map(({ x }) => x),
    Array.from({ length: 13 }, (_, i) => i + 1),
  );
  assert.equal(train.at(-1)!.y, 9);
  assert.deepEqual(validation, []);
});

it('figures that are none are said and drawn as nothing', () => {
  const { job: shown, log } = run([
    { type: 'sweep', sweep: 0, nll: { train: 5, validation: null } },
    stepEvent(1, null),
    validationEvent(1, null, false),
  ]);
  assert.deepEqual(curvesOf(shown), { train: [], validation: [], steps: 40, best: undefined });
  assert.deepEqual(
    log.map(({ text }) => /null|NaN/.test(text)),
    [false, false],
  );
});

it('what is remembered of the log has an end', () => {
  const many = Array.from({ length: 1000 }, (_, i): JobEvent => ({ type: 'warning', message: `note ${i}` }));
  const { log } = run(many);
  assert.equal(log.length, 400);
  assert.equal(log.at(-1)!.text, 'note 999');
});
