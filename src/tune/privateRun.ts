import type { AdapterToWrite } from '../adapter/writeAdapter.js';
import type { NamedBytes } from '../data/types.js';

/** What a run needs that may leave nothing readable on the disk. */
export interface PrivateRun {
  /** Seals what the run keeps while it lasts, its checkpoints above all; the same for the same run. */
  key: Uint8Array;
  /** Called at the end of a run that has ended well: nothing needs the key any more. */
  forget(): Promise<void>;
  /** Held-out examples that are not in a file, in the place of --heldout. */
  heldout?: string | NamedBytes;
  /** Takes the adapter; where there is none it goes to the file of --out. */
  keeper?: Keeper;
}

export interface Keeper {
  /** The adapter's name. */
  name: string;
  /** Called early, with the base model. Throws LoamError where the adapter cannot be kept. */
  check(base: AdapterToWrite['base']): void;
  /**
   * Keeps an adapter (GGUF).
   * @param measured false for the best state of a stopped run
   * @returns what to call it: `vault:me@3`
   */
  keep(bytes: Uint8Array, adapter: AdapterToWrite, measured: boolean): Promise<string>;
}
