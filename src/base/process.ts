import { readdirSync, readFileSync } from 'node:fs';
import { homedir, setPriority } from 'node:os';
import { join, resolve } from 'node:path';

/** Folder of all state (models, runs, adapters): `LOAM_HOME`, or `~/.loam`. Read at each call so that tests can move it. */
export function loamHome(...parts: string[]): string {
  const root = process.env.LOAM_HOME ? resolve(process.env.LOAM_HOME) : join(homedir(), '.loam');
  return join(root, ...parts);
}

/** Loam's version, from its package.json. */
export const version: string = (
  JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
).version;

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
