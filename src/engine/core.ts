import { dumpNoMemory } from '../base/process.js';
import { bytes, fn, int, systemFunction } from './ffi.js';

/** No core dumps: what a process holds of the user's texts and keys must not be written to a disk because native code aborts. */

/** sys/resource.h, the same on Linux, Android and macOS. */
const RLIMIT_CORE = 4;

let done = false;

/**
 * From now on neither this process nor its children leave a core. On Linux their memory is no part of one besides: a program that the
 * system hands cores to (core(5), core_pattern) gets one whatever the limit is. Best effort where the system refuses.
 */
export function leaveNoCore(): void {
  if (done) return;
  done = true;
  dumpNoMemory();
  // struct rlimit: two unsigned integers of 64 bits.
  if (process.platform !== 'win32')
    systemFunction(fn('setrlimit', int, [int, bytes]))?.(RLIMIT_CORE, new BigUint64Array(2));
}
