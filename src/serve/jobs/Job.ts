import { thinPoints } from '../../base/curve.js';
import type { MemorisedReport } from '../../llama/memorised/report.js';
import type { Json } from '../../store/types.js';
import type { Vault } from '../../store/Vault.js';
import type { TuneEvent } from '../../train/events.js';
import type { Memorised } from '../contract/adapters.js';
import type { Job, JobEvent, JobInput, JobState } from '../contract/jobs.js';

export function isFinal(state: JobState): boolean {
  return state === 'done' || state === 'failed' || state === 'cancelled';
}

/** What a job is asked to do, with the model that it is going to be. */
export type JobRequest = Required<Pick<JobInput, 'model' | 'options'>> & JobInput;

/** A job as the vault keeps it: as it is shown, and what the queue needs besides. */
export interface StoredJob extends Job {
  /** How often the system ended it without any progress in between; reset by progress. */
  deaths: number;
  /** Newest step that a checkpoint or an event tells of. */
  step: number;
}

export function viewJob({ deaths: _, step: __, ...job }: StoredJob): Job {
  return job;
}

/** An event with its number in the job's log; those that are out of date in a second have none. */
export interface LoggedEvent {
  n?: number;
  event: JobEvent;
}

/** Points of a curve that are kept: as many as a phone's screen can show. */
const MAX_POINTS = 400;
/** Weight of a new reading of the time a step takes. */
const WEIGHT = 0.1;
/** Seconds between two estimates. */
const ETA_EVERY = 2;

/** Pace of a run; forgotten with its process. */
const paces = new WeakMap<StoredJob, { step: number; at: number; perStep?: number; told: number }>();

/**
 * Keeps a job's state up with an event of its run.
 * @returns whether the event is of this moment only, and whether there is a new estimate of the time left
 */
export function followEvent(job: StoredJob, event: TuneEvent): { passing: boolean; eta: boolean } {
  switch (event.type) {
    case 'stage':
      job.stage = event.stage;
      job.progress = undefined;
      return { passing: false, eta: false };
    case 'progress':
      job.stage = event.stage;
      job.progress = { done: event.done, total: event.total };
      return { passing: true, eta: false };
    case 'quote': {
      const { type: _, cheaper: __, availableBytes: ___, ...quote } = event;
      job.quote = quote;
      job.etaSeconds = quote.seconds;
      return { passing: false, eta: true };
    }
    case 'resumed':
      rewind(job, event.step);
      return { passing: false, eta: false };
    case 'restart':
    case 'diverged':
      rewind(job, event.type === 'restart' ? 0 : event.backTo);
      return { passing: false, eta: false };
    case 'step':
      if (event.step > job.step) {
        job.step = event.step;
        job.deaths = 0;
      }
      if (event.loss !== null) job.curve.train = thin([...job.curve.train, [event.step, event.loss]]);
      job.curve.steps = event.steps;
      return { passing: false, eta: estimate(job, event.step, event.steps) };
    case 'validation':
      if (event.nll !== null) job.curve.validation = thin([...job.curve.validation, [event.step, event.nll]]);
      return { passing: false, eta: false };
    default:
      return { passing: false, eta: false };
  }
}

/** What came after a step is computed again. */
function rewind(job: StoredJob, step: number): void {
  const upTo = (points: [number, number][]) => points.filter(([at]) => at <= step);
  job.curve.train = upTo(job.curve.train);
  job.curve.validation = upTo(job.curve.validation);
  paces.delete(job);
}

function thin(points: [number, number][]): [number, number][] {
  // In steps of twice the number, so that not every point makes all be looked at.
  if (points.length < 2 * MAX_POINTS) return points;
  return thinPoints(
    points.map(([x, y]) => ({ x, y })),
    MAX_POINTS,
  ).map(({ x, y }) => [x, y]);
}

function estimate(job: StoredJob, step: number, steps: number): boolean {
  const now = performance.now() / 1000;
  const known = paces.get(job);
  if (!known || step <= known.step) {
    paces.set(job, { step, at: now, told: 0 });
    return false;
  }
  const reading = (now - known.at) / (step - known.step);
  const perStep = known.perStep === undefined ? reading : (1 - WEIGHT) * known.perStep + WEIGHT * reading;
  const isDue = now - known.told >= ETA_EVERY;
  paces.set(job, { step, at: now, perStep, told: isDue ? now : known.told });
  job.etaSeconds = Math.max(0, steps - step) * perStep;
  return isDue;
}

/** Results kept beside a version; the worst come first. */
const MAX_RESULTS = 200;

/** Keeps what a probe found beside the version. `reproduced` is what an export asks for. */
export async function noteMemorised(vault: Vault, version: string, report: MemorisedReport): Promise<void> {
  const results = report.results.filter(({ verdict }) => verdict === 'reproduced' || verdict === 'likely');
  const kept: Memorised = {
    ...report,
    reproduced: report.verdicts.reproduced,
    at: new Date().toISOString(),
    results: results.slice(0, MAX_RESULTS),
  };
  await vault.adapters.annotate(version, { memorised: kept as Json });
}
