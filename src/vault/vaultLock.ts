import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LoamError } from '../util/errors.js';
import { Mutex } from '../util/mutex.js';
import { tryLock } from '../util/tryLock.js';

/** Milliseconds between two attempts: a writer holds the lock for some milliseconds. */
const RETRY_MS = 15;
/** Waiting this long means that something hangs: changing the passphrase, the longest, takes seconds. */
const PATIENCE_MS = 60_000;

/** One writer at a time, among the processes and within this one. Readers need no lock: files are replaced as a whole. */
export class VaultLock {
  private readonly mutex = new Mutex();
  private readonly path: string;

  constructor(folder: string) {
    this.path = join(folder, 'lock');
  }

  run<T>(work: () => Promise<T>): Promise<T> {
    return this.mutex.run(async () => {
      const lock = await this.take();
      try {
        return await work();
      } finally {
        await lock.release();
      }
    });
  }

  private async take(): Promise<{ release: () => Promise<void> }> {
    const until = performance.now() + PATIENCE_MS;
    for (;;) {
      const lock = await tryLock(this.path);
      if ('release' in lock) return lock;
      if (performance.now() > until) {
        throw new LoamError({
          found: `process ${lock.heldBy} has been writing to the vault for a minute`,
          where: this.path,
          fix: 'end it if it hangs, and run again',
        });
      }
      await sleep(RETRY_MS);
    }
  }
}
