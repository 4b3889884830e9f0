/** What passes between the queue and the process that tunes: over a pipe, so that nothing of it touches a disk. */
import type { AdapterToWrite } from '../adapter/writeAdapter.js';
import type { NamedBytes } from '../data/types.js';
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
}

export type QuoteTask = Pick<TuneTask, 'data' | 'options'>;

/** What the vault needs to know of an adapter beside its bytes. */
export type KeptAdapter = Pick<AdapterToWrite, 'base' | 'recipe' | 'metrics'>;

export type ToTuner =
  | { type: 'tune'; task: TuneTask }
  | { type: 'quote'; task: QuoteTask }
  | { type: 'stop' }
  | { type: 'kept'; label: string }
  | { type: 'not-kept'; error: SentError };

export type FromTuner =
  | { type: 'event'; event: TuneEvent }
  | { type: 'keep'; bytes: Uint8Array; adapter: KeptAdapter; measured: boolean }
  | { type: 'result'; result: TuneResult }
  | { type: 'quoted'; quote: unknown }
  | { type: 'failed'; error: SentError };
