import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { systemLibrary } from './native.js';

let trim: ((padding: bigint) => number) | null | undefined;

/** `malloc_trim` of glibc; null where the C library has none (Android's, musl, macOS, Windows). */
function trimmer(): ((padding: bigint) => number) | null {
  if (process.platform !== 'linux') return null;
  try {
    return systemLibrary(null)<(padding: bigint) => number>('int malloc_trim(size_t pad)');
  } catch {
    return null;
  }
}

/**
 * Gives memory that nobody uses any more back to the system, before a step that needs much of its own: arrays that JavaScript has not
 * collected yet, and what the C library keeps of freed blocks. Takes some tens of milliseconds.
 */
export function releaseMemory(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  if (trim === undefined) trim = trimmer();
  trim?.(0n);
}
