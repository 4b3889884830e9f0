import type { AdapterToWrite } from '../adapter/writeAdapter.js';

/** Where the adapter of a run goes: a file, or a keeper that stores it encrypted. */
export interface AdapterOutput {
  /** What messages call it: the path, or a reference. */
  readonly label: string;
  /** The adapter's own name, in its metadata. */
  readonly name: string;
  /** Makes the adapter readable under a path, as long as `use` takes. */
  trial<T>(adapter: AdapterToWrite, use: (path: string) => Promise<T>): Promise<T>;
  /** @param measured whether it passed the effect gate @returns what to call it from now on, and its size in bytes */
  keep(adapter: AdapterToWrite, measured: boolean): Promise<{ label: string; bytes: number }>;
}
