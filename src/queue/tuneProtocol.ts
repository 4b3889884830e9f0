/** What passes between the queue and the process that tunes: over a pipe, so that nothing of it touches a disk. */
import type { AdapterToWrite } from '../adapter/writeAdapter.js';
import type { NamedBytes } from '../data/types.js';
import type { MemorisedReport } from '../privacy/types.js';
import type { TuneEvent, TuneResult } from '../tune/events.js';
import type { TuneOptions } from '../tune/options.js';
import type { SentError } from '../util/sendError.js';

export interface TuneTask {
  data: NamedBytes;
  heldout?: NamedBytes;
  /** Of `tune`; paths of adapters stand as bytes below. */
  options: TuneOptions;
  start?: Uint8Array;
  teacher?: Uint8Array;
  /** Name of the adapter. */
  name: string;
  /** Seals what the run leaves on the disk. */
  key: Uint8Array;
  /** Seconds that the probe for private details may take after tuning; 0: no probe. */
  probeSeconds: number;
}

/** Asks an adapter for the private details of what it has learnt. */
export interface ProbeTask {
  model: string;
  adapter: Uint8Array;
  name: string;
  data: readonly NamedBytes[];
  seconds: number;
}

export type QuoteTask = Pick<TuneTask, 'data' | 'options'>;

/** What the vault needs to know of an adapter beside its bytes. */
export type KeptAdapter = Pick<AdapterToWrite, 'base' | 'recipe' | 'metrics'>;

export type ToTuner =
  | { type: 'tune'; task: TuneTask }
  | { type: 'quote'; task: QuoteTask }
  | { type: 'probe'; task: ProbeTask }
  | { type: 'stop' }
  | { type: 'kept'; label: string }
  | { type: 'not-kept'; error: SentError };

export type FromTuner =
  | { type: 'event'; event: TuneEvent }
  | { type: 'keep'; bytes: Uint8Array; adapter: KeptAdapter; measured: boolean }
  | { type: 'result'; result: TuneResult }
  | { type: 'quoted'; quote: unknown }
  | { type: 'probing'; done: number; total: number }
  | { type: 'probed'; report: MemorisedReport }
  | { type: 'failed'; error: SentError };
