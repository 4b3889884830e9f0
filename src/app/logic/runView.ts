import type { Point } from '../../base/curve.js';
import type { Job, JobEvent } from '../../serve/contract/jobs.js';
import { followJob } from '../../serve/jobs/Job.js';
import { logLine } from './words.js';

/** What the progress page shows of a run: the job as the server kept it, taken on by the events after that, and what the log says. */
export interface RunView {
  job: Job;
  log: { at: number; text: string }[];
  /** Number of the last event, from which the stream continues. */
  lastId: number;
}

/** Lines of the log that are kept: otherwise a run of hours would fill the phone's memory. */
const LOG_LINES = 400;

export function openRun(job: Job): RunView {
  return { job, log: [], lastId: 0 };
}

/**
 * The view after one more event. The log is read from its beginning, and the job is followed from where the server left it. Events
 * that were seen already (a stream may repeat some after a break) change nothing.
 * @param id number of the event, 0 for one of this moment only
 */
export function withEvent(view: RunView, id: number, event: JobEvent, at: number): RunView {
  if (id > 0 && id <= view.lastId) return view;
  const text = logLine(event);
  const isNew = id === 0 || id > view.job.lastEvent;
  return {
    job: isNew ? followJob(view.job, { n: id || undefined, event }) : view.job,
    log: text === undefined ? view.log : [...view.log, { at, text }].slice(-LOG_LINES),
    lastId: Math.max(id, view.lastId),
  };
}

/** The curves as points, and the lowest loss of the examples kept aside. */
export function curvesOf({ curve }: Job): { train: Point[]; validation: Point[]; steps?: number; best?: number } {
  const points = (pairs: readonly (readonly [number, number])[]) => pairs.map(([x, y]) => ({ x, y }));
  const losses = curve.validation.map(([, nll]) => nll);
  return {
    train: points(curve.train),
    validation: points(curve.validation),
    steps: curve.steps,
    best: losses.length > 0 ? Math.min(...losses) : undefined,
  };
}
