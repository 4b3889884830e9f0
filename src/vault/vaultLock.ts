import { randomBytes } from 'node:crypto';
import { rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LoamError } from '../util/errors.js';
import { isDiskFull } from '../util/isDiskFull.js';
import { Mutex } from '../util/mutex.js';
import { tryLock } from '../util/tryLock.js';

/** Milliseconds between two attempts: a writer holds the lock for some milliseconds. */
const RETRY_MS = 15;
/** Waiting this long means that something hangs: changing the passphrase, the longest, takes seconds. */
const PATIENCE_MS = 60_000;

/** Room for the small files of a write besides the index. */
const RESERVE_BYTES = 64 * 1024;
/** The index is written twice before the older ones go, and may grow. */
const RESERVE_SHARE = 2.5;

/**
 * One writer at a time, among the processes and within this one. Readers need no lock: files are replaced as a whole. Beside the lock
 * lies a reserve of disk space, given up when the disk is full: for deleting takes some room before it makes room.
 */
export class VaultLock {
  private readonly mutex = new Mutex();
  private readonly path: string;
  private readonly reserve: string;

  constructor(private readonly folder: string) {
    this.path = join(folder, 'lock');
    this.reserve = join(folder, 'reserve');
  }

  run<T>(work: () => Promise<T>): Promise<T> {
    return this.mutex.run(async () => {
      const lock = await this.take().catch(async (error: unknown) => {
        if (!isDiskFull(error)) throw error;
        await this.giveUpReserve();
        return await this.take();
      });
      try {
        const result = await work();
        await this.keepReserve();
        return result;
      } finally {
        await lock.release();
      }
    });
  }

  /** Frees disk space for what must be written. Call it under the lock. */
  async giveUpReserve(): Promise<void> {
    await rm(this.reserve, { force: true });
  }

  private async keepReserve(): Promise<void> {
    const index = await stat(join(this.folder, 'index.sqlite')).catch(() => undefined);
    if (!index) return;
    const bytes = RESERVE_BYTES + Math.ceil(RESERVE_SHARE * index.size);
    const { size } = await stat(this.reserve).catch(() => ({ size: 0 }));
    if (size >= bytes) return;
    try {
      // Random, because some file systems do not store zeros.
      await writeFile(this.reserve, randomBytes(2 * bytes), { mode: 0o600 });
    } catch {
      // The disk is full at this time; the next writer tries again.
      await this.giveUpReserve();
    }
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
