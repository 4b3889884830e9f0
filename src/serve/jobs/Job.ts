import { thinPoints } from '../../base/curve.js';
import type { MemorisedReport } from '../../examples/personal/finding.js';
import type { Json } from '../../store/types.js';
import type { Vault } from '../../store/Vault.js';
import type { MeasuredNll, Quote, Stage, TuneEvent, TuneResult } from '../../train/events.js';

/**
 * `queued`: waits for its turn. `paused`: waits for somebody to resume it. `interrupted`: the system or a stop of the server ended its
 * process; it goes on by itself. The last three are final.
 */
export type JobState = 'queued' | 'running' | 'paused' | 'interrupted' | 'done' | 'failed' | 'cancelled';

export function isFinal(state: JobState): boolean {
  return state === 'done' || state === 'failed' || state === 'cancelled';
}

/** What somebody asks for. */
export interface JobRequest {
  /** Of the adapter that gets a version; there is one adapter of a name. */
  name: string;
  /** Id of a data set of the vault. */
  dataset: string;
  /** Name of a base model. */
  model: string;
  /** Options of tuning that were chosen; the others have their defaults. */
  options: Record<string, unknown>;
  /** Id of a data set to measure on. */
  heldout?: string;
  /** Ids of adapter versions: what training begins with, and what ridge's teacher wears. */
  start?: string;
  teacher?: string;
}

/** Points [step, NLL], thinned. */
interface JobCurve {
  train: [number, number][];
  validation: [number, number][];
  steps?: number;
}

/** A tuning job as it is shown and kept: plain JSON. */
export interface Job extends JobRequest {
  id: string;
  datasetName: string;
  state: JobState;
  /** A sentence on how it came to be in this state. */
  message?: string;
  createdAt: string;
  startedAt?: string;
  finishedAt?: string;
  stage?: Stage | 'probe';
  progress?: { done: number; total: number };
  etaSeconds?: number;
  /** Seconds of work so far, over all processes. */
  seconds: number;
  curve: JobCurve;
  quote?: Quote & { layers: number; recompute: boolean };
  result?: Omit<TuneResult, 'adapter' | 'type'> & { nll: MeasuredNll & { teacher?: number } };
  adapter?: { id: string; version: string };
  error?: { message: string };
  /** How often the system ended it without any progress in between; reset by progress. */
  deaths: number;
  /** Newest step that a checkpoint or an event tells of. */
  step: number;
}

/** Events of a job: those of tuning as they are, and what happens to the job itself. */
export type JobEvent =
  | TuneEvent
  | { type: 'state'; state: JobState; message?: string }
  | { type: 'eta'; seconds: number }
  /** After tuning: the adapter is asked for private details of its data. */
  | { type: 'probing'; done: number; total: number }
  | { type: 'result'; result: Job['result']; adapter?: Job['adapter'] };

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
const paces = new WeakMap<Job, { step: number; at: number; perStep?: number; told: number }>();

/**
 * Keeps a job's state up with an event of its run.
 * @returns whether the event is of this moment only, and whether there is a new estimate of the time left
 */
export function followEvent(job: Job, event: TuneEvent): { passing: boolean; eta: boolean } {
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
      job.curve.train = thin([...job.curve.train, [event.step, event.loss]]);
      job.curve.steps = event.steps;
      return { passing: false, eta: estimate(job, event.step, event.steps) };
    case 'validation':
      job.curve.validation = thin([...job.curve.validation, [event.step, event.nll]]);
      return { passing: false, eta: false };
    default:
      return { passing: false, eta: false };
  }
}

/** What came after a step is computed again. */
function rewind(job: Job, step: number): void {
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

function estimate(job: Job, step: number, steps: number): boolean {
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
  const kept = {
    ...report,
    reproduced: report.verdicts.reproduced,
    at: new Date().toISOString(),
    results: results.slice(0, MAX_RESULTS),
  };
  await vault.adapters.annotate(version, { memorised: kept as unknown as Json });
}
