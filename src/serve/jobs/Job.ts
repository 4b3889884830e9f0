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
  /** Somebody has started it although the rules on when it may run are not kept. */
  now?: boolean;
  /** Newest step of all that it has done, those that had to be done again too. */
  step: number;
}

/** How a job came to be in a state: a sentence, and its codes. */
export type Why = Required<Pick<Job, 'message'>> & Pick<Job, 'causes'>;

export function viewJob({ deaths: _, step: __, run: ___, leaves: ____, now: _____, ...job }: StoredJob): Job {
  return job;
}

/** All data sets that a job learns from. */
export function datasetsOf({ dataset, also = [] }: Pick<JobInput, 'dataset' | 'also'>): string[] {
  return [...new Set([dataset, ...also])];
}

export function isFinal(state: JobState | undefined): boolean {
  return state === 'done' || state === 'failed' || state === 'cancelled';
}

/** Whether a job begins or goes on by itself. */
export function waitsForItself(state: JobState): boolean {
  return state === 'queued' || state === 'waiting' || state === 'interrupted';
}

/** What of that which a job learns from, or builds on, is not there; undefined if all of it is. */
export function missingSource(job: StoredJob, isThere: (id: string) => boolean): string | undefined {
  const isMissing = (id: string | undefined) => id !== undefined && !isThere(id);
  if (datasetsOf(job).some(isMissing) || isMissing(job.heldout)) return 'its data set';
  return isMissing(job.start) || isMissing(job.teacher) ? 'a version that it builds on' : undefined;
}

/** What a job that goes on says of itself. */
export function resumption({ state, message, causes = [] }: StoredJob): Why | undefined {
  if (state === 'waiting') return { message: 'goes on' };
  if (state !== 'interrupted') return undefined;
  const isEnded = causes.some((one) => one === 'died' || one === 'server');
  return { message: isEnded ? `resumed after it was ${message}` : 'resumed' };
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
      const { state, message, causes } = event;
      return {
        ...job,
        state,
        message,
        causes,
        doing: undefined,
        ...(state !== 'running' && { etaSeconds: undefined }),
      };
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
