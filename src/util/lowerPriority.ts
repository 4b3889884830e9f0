import { readdirSync } from 'node:fs';
import { setPriority } from 'node:os';

/**
 * Lets other programs go first, from now on: this process and the threads it has. On Linux priorities belong to threads; later ones
 * inherit theirs. That a system refuses it is no reason to fail.
 * @param nice 0 (as others) to 19 (when nothing else wants to run)
 */
export function lowerPriority(nice: number): void {
  let threads: number[] = [process.pid];
  try {
    threads = readdirSync('/proc/self/task').map(Number);
  } catch {
    // No such list here: priorities belong to processes.
  }
  for (const thread of threads) {
    try {
      setPriority(thread, nice);
    } catch {
      // It has ended meanwhile, or may not be changed.
    }
  }
}
