import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { JobEvent } from '../../serve/contract/jobs.js';
import { queuedJob, stepEvent, validationEvent } from '../../testing/runEvents.js';
import { asChance, openRun, type RunView, roughly, size, when, withEvent } from './words.js';

it('a time is today or yesterday by the calendar here, not by hours', () => {
  const now = new Date(2026, 4, 3, 0, 30).getTime();
  const at = (hours: number) => when(new Date(now - hours * 3_600_000).toISOString(), now);
  assert.match(at(0.25), /^today, /);
  assert.match(at(1), /^yesterday, /);
  assert.match(at(24), /^yesterday, /);
  assert.doesNotMatch(at(25), /day,/);
  assert.equal(when('soon'), '');
});

it('figures are rounded to what a person reads', () => {
  assert.deepEqual([5, 33, 70, 240, 3_500, 7_560, 36_000].map(roughly), [
    'a few seconds',
    'about 30 seconds',
    'about a minute',
    'about 4 minutes',
    'about an hour',
    'about 2.1 hours',
    'about 10 hours',
  ]);
  assert.deepEqual([0, 999, 1_400, 999_600, 612e6, 1.44e9].map(size), [
    '0 bytes',
    '999 bytes',
    '1.4 kB',
    '1.0 MB',
    '612 MB',
    '1.4 GB',
  ]);
  assert.deepEqual([Math.log(2), Math.log(20)].map(asChance), ['50%', '5.0%']);
});

const run = (events: readonly JobEvent[], start = openRun(queuedJob)): RunView =>
  events.reduce((view, event, i) => withEvent(view, i + 1, event), start);

const events: JobEvent[] = [
  { type: 'state', state: 'running', message: '' },
  { type: 'sweep', sweep: 0, nll: { train: 5, validation: 5.5 } },
  ...Array.from({ length: 20 }, (_, i) => stepEvent(i + 1)),
  validationEvent(20, 2.5),
];

it('the curve has each step once, also when a stream repeats what it had sent', () => {
  const once = run(events);
  const again = events.reduce((view, event, i) => withEvent(view, i + 1, event), once);
  assert.deepEqual(again, once);
  const { train, validation } = once.job.curve;
  assert.deepEqual(
    train.map(([step]) => step),
    Array.from({ length: 20 }, (_, i) => i + 1),
  );
  assert.deepEqual(validation, [[20, 2.5]]);
  assert.deepEqual(once.job.progress, { done: 20, total: 40 });
});

it('steps after the checkpoint that a run goes on from are forgotten, for they are done again', () => {
  const { train, validation } = run([...events, { type: 'resumed', step: 12 }, stepEvent(13, 9)]).job.curve;
  assert.deepEqual(
    train.map(([step]) => step),
    Array.from({ length: 13 }, (_, i) => i + 1),
  );
  assert.deepEqual(train.at(-1), [13, 9]);
  assert.deepEqual(validation, []);
});

it('figures that are none are said and drawn as nothing', () => {
  const { job: shown, log } = run([
    { type: 'sweep', sweep: 0, nll: { train: 5, validation: null } },
    stepEvent(1, null),
    validationEvent(1, null, false),
  ]);
  assert.deepEqual([shown.curve.train, shown.curve.validation], [[], []]);
  assert.equal(log.length, 2);
  for (const line of log) assert.doesNotMatch(line, /null|NaN/);
});

it('what is remembered of the log has an end', () => {
  const many = Array.from({ length: 1000 }, (_, i): JobEvent => ({ type: 'warning', message: `note ${i}` }));
  const { log } = run(many);
  assert.equal(log.length, 400);
  assert.equal(log.at(-1), 'note 999');
});
