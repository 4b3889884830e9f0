import { stat } from 'node:fs/promises';
import { isDiskFull, LoamError } from '../base/errors.js';
import { explainWriteError } from '../base/io.js';
import { Mutex, takeLock } from '../base/lock.js';
import type { VaultFiles } from './files.js';

type Taken = Awaited<ReturnType<typeof takeLock>>;

/** Waiting this long means that something hangs: changing the passphrase, the longest, takes seconds. */
const PATIENCE_MS = 60_000;
/** Whoever only reads can do without what it would tidy. */
export const READER_PATIENCE_MS = 5_000;

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
  private closed = false;
  private held: Taken | undefined;

  constructor(private readonly files: VaultFiles) {}

  run<T>(work: () => Promise<T>, patienceMs = PATIENCE_MS): Promise<T> {
    return this.mutex.run(async () => {
      if (this.closed) throw new LoamError({ code: 'locked', found: 'the vault is closed', fix: 'open it again' });
      const lock = await this.takeOnFullDisk(patienceMs);
      this.held = lock;
      try {
        const result = await work();
        await this.keepReserve();
        return result;
      } catch (error) {
        throw explainWriteError(error, this.files.folder);
      } finally {
        this.held = undefined;
        await lock.release();
      }
    });
  }

  /** A process that was frozen, out of reach of another one, may have been taken for dead. @throws LoamError: busy */
  requireHeld(): void {
    if (!this.held?.lost.aborted) return;
    throw new LoamError({
      code: 'busy',
      found: 'another process has taken over the writing to the vault while this one stood still',
      fix: 'run again',
    });
  }

  /** Ends its use: waits for the writers of this process, and lets no more begin. */
  close(): Promise<void> {
    return this.mutex.run(async () => {
      this.closed = true;
    });
  }

  private async keepReserve(): Promise<void> {
    const index = await stat(this.files.path('index.sqlite')).catch(() => undefined);
    if (!index) return;
    const bytes = RESERVE_BYTES + Math.ceil(RESERVE_SHARE * index.size);
    await this.files.keepReserve(bytes, 2 * bytes);
  }

  /** The file of the lock has its room in the reserve. */
  private async takeOnFullDisk(patienceMs: number): Promise<Taken> {
    for (const makeRoom of [() => this.files.shrinkReserve(), () => this.files.giveUpReserve()]) {
      try {
        return await this.take(patienceMs);
      } catch (error) {
        if (!isDiskFull(error)) throw error;
        await makeRoom();
      }
    }
    return await this.take(patienceMs);
  }

  private take(patienceMs: number): Promise<Taken> {
    return takeLock(this.files.lock, 'is writing to the vault and comes to no end', { patienceMs });
  }
}
