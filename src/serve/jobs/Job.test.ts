import assert from 'node:assert/strict';
import { it } from 'node:test';
import { openRun, type RunView, withEvent } from '../../app/logic/words.js';
import { eventfulRun, queuedJob, stepEvent } from '../../testing/runEvents.js';
import type { JobEvent } from '../contract/jobs.js';
import { followJob, followStored, type LoggedEvent, type StoredJob } from './Job.js';

const state = (name: StoredJob['state'], message?: string): JobEvent => ({ type: 'state', state: name, message });
const result = { method: 'auto', nll: { base: 5, adapted: 2 }, measuredOn: 'validation', tokens: 9 } as const;
const passing = new Set(['progress', 'eta', 'probing']);
let number = 0;
/** A job's whole life as its log tells it; what is of the moment has no number. */
const life: LoggedEvent[] = [
  state('queued'),
  state('running'),
  ...eventfulRun.slice(0, 20),
  state('interrupted', 'interrupted by the system'),
  state('running', 'goes on after it was interrupted by the system'),
  ...eventfulRun.slice(20),
  { type: 'eta', seconds: 30 } as const,
  { type: 'probing', done: 1, total: 2 } as const,
  {
    type: 'result',
    result: { ...result, seconds: 1, peakRssBytes: 1, bytes: 1 },
    adapter: { id: 'a', version: 'v' },
  } as const,
  state('done'),
].map((event): LoggedEvent => (passing.has(event.type) ? { event } : { n: ++number, event }));

/** As HTTP carries it. */
const sent = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;
/** The log replayed, then what comes: a moment's event is not heard by who was not there. */
const watch = (job: StoredJob, from: number): RunView => {
  const heard = life.filter(({ n }, i) => n !== undefined || i >= from);
  return heard.reduce((view, { n, event }) => withEvent(view, n ?? 0, event), openRun(sent(job)));
};

it('a page that is opened at any moment shows what one shows that was there all along, and what the queue has', () => {
  const ended = life.reduce(followJob, queuedJob);
  const all = watch(queuedJob, 0);
  assert.deepEqual(sent(all.job), sent(ended));
  assert.equal(all.job.state, 'done');
  assert.ok(all.job.curve.train.length > 20 && all.log.length > 20);
  for (let cut = 0; cut <= life.length; cut++) {
    const view = watch(life.slice(0, cut).reduce(followJob, queuedJob), cut);
    assert.deepEqual(sent(view), sent(all), `opened after ${cut} events`);
  }
});

it('a run that no longer runs has no time to go', () => {
  const paused = [{ event: { type: 'eta', seconds: 30 } as const }, { event: state('paused', 'paused') }];
  const { etaSeconds, state: name, message } = paused.reduce(followJob, queuedJob);
  assert.deepEqual([etaSeconds, name, message], [undefined, 'paused', 'paused']);
});

it('new progress forgets earlier deaths, and repeated work does not', () => {
  const job = { ...queuedJob, deaths: 2, step: 10 };
  const after = (step: number) => followStored(job, { event: stepEvent(step) });
  assert.deepEqual([after(10).deaths, after(11).deaths, after(11).step], [2, 0, 11]);
});
