import type { MeasuredNll, Quote, Stage, TuneEvent, TuneResult } from '../tune/events.js';

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
export interface JobCurve {
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
