import { followRun } from '../../train/followRun.js';
import type { Job, JobEvent, JobInput, JobState } from '../contract/jobs.js';

/** A tuning job: what it is asked to do, how it is kept, and the one fold of its events. Needs nothing of Node: the page folds by it. */

/** What a job is asked to do, once its model is known. */
export type JobRequest = Required<Pick<JobInput, 'model' | 'options'>> & JobInput;

/** A job as the vault keeps it: as it is shown, and what the queue needs besides. */
export interface StoredJob extends Job {
  /** Id of its run, which its adapter version carries: another one once it begins anew. */
  run: string;
  /** It has ended, and the key of its checkpoints is still to be destroyed. */
  leaves?: boolean;
  /** How often the system ended it without any progress in between; reset by progress. */
  deaths: number;
  /** Newest step of all that it has done, those that had to be done again too. */
  step: number;
}

export function viewJob({ deaths: _, step: __, run: ___, leaves: ____, ...job }: StoredJob): Job {
  return job;
}

export function isFinal(state: JobState | undefined): boolean {
  return state === 'done' || state === 'failed' || state === 'cancelled';
}

/** An event with its number in the job's log; those of the moment have none. */
export interface LoggedEvent {
  n?: number;
  event: JobEvent;
}

/** Whether an event is out of date in a second: told to those who listen, and not kept. */
export function isOfTheMoment({ type }: JobEvent): boolean {
  return type === 'progress' || type === 'eta' || type === 'probing';
}

/**
 * A job after one more of its events. The queue keeps the result, and the page continues from it, so it shows the same whenever it was
 * opened.
 */
export function followJob<J extends Job>(job: J, { n = job.lastEvent, event }: LoggedEvent): J {
  return { ...change(job, event), lastEvent: n };
}

/** The same for the queue: progress clears the count of deaths, repeated work does not. */
export function followStored(job: StoredJob, logged: LoggedEvent): StoredJob {
  const { event } = logged;
  const next = followJob(job, logged);
  return event.type === 'step' && event.step > job.step ? { ...next, step: event.step, deaths: 0 } : next;
}

function change<J extends Job>(job: J, event: JobEvent): J {
  switch (event.type) {
    case 'state': {
      const { state, message } = event;
      return { ...job, state, message, doing: undefined, ...(state !== 'running' && { etaSeconds: undefined }) };
    }
    case 'eta':
      return { ...job, etaSeconds: event.seconds };
    case 'probing':
      return { ...job, stage: 'probe', doing: undefined, progress: { done: event.done, total: event.total } };
    case 'result':
      return { ...job, result: event.result, adapter: event.adapter };
    default:
      return followRun(job, event);
  }
}
