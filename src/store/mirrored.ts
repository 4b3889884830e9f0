import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { type FileHandle, open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDiskFull, LoamError } from '../base/errors.js';
import { explainWriteError, syncFolder } from '../base/io.js';
import { Mutex, tryLock } from '../base/lock.js';

/** Largest file read: an index of tens of thousands of entries has some megabytes. */
const MAX_BYTES = 256 << 20;

/** Where the second copy lies. */
export function copyPath(path: string): string {
  return `${path}.copy`;
}

/**
 * Writes a small file twice, so that damage to one copy loses nothing. Both are on the disk before either takes its name: a full disk
 * or a crash leaves the old pair, or the new one, or the new file with the old copy.
 * @param scrub overwrites the blocks of the older files afterwards. That reaches the medium on disks that write in place, and not
 *   on flash memory or file systems that write elsewhere
 */
export async function writeMirrored(path: string, content: Uint8Array, { scrub = false } = {}): Promise<void> {
  const paths = [path, copyPath(path)];
  const partials = paths.map((p) => join(dirname(p), `.${basename(p)}.${randomBytes(4).toString('hex')}.partial`));
  const old: FileHandle[] = [];
  try {
    for (const partial of partials) {
      const file = await open(partial, 'wx', 0o600);
      try {
        await file.writeFile(content);
        await file.sync();
      } finally {
        await file.close();
      }
    }
    // Windows does not rename over open files.
    if (scrub && process.platform !== 'win32') {
      for (const p of paths)
        await open(p, 'r+').then(
          (file) => old.push(file),
          () => {},
        );
    }
    for (const [i, partial] of partials.entries()) await rename(partial, paths[i]!);
    await syncFolder(dirname(path));
    for (const file of old) await overwrite(file);
  } catch (error) {
    for (const partial of partials) await rm(partial, { force: true }).catch(() => {});
    throw explainWriteError(error, path);
  } finally {
    for (const file of old) await file.close().catch(() => {});
  }
}

/** Removes both copies, their content overwritten first. */
export async function removeMirrored(path: string): Promise<void> {
  for (const p of [path, copyPath(path)]) {
    const file = await open(p, 'r+').catch(() => undefined);
    if (file) {
      await overwrite(file);
      await file.close();
    }
    await rm(p, { force: true });
  }
  await syncFolder(dirname(path));
}

/** As far as the medium allows; that it could not be done is no reason to fail. */
async function overwrite(file: FileHandle): Promise<void> {
  try {
    const { size } = await file.stat();
    await file.write(randomBytes(size), 0, size, 0);
    await file.sync();
  } catch {
    // The file system's affair.
  }
}

/** Whether both copies are there and alike. */
export function isMirrored(path: string): boolean {
  const [first, second] = [readSmall(path), readSmall(copyPath(path))];
  return first !== undefined && second !== undefined && first.equals(second);
}

/** Both copies, the first one first; without those that are not there, cannot be read, or are the same. */
export function readMirrored(path: string): Buffer[] {
  const found = [path, copyPath(path)].flatMap((p) => {
    const content = readSmall(p);
    return content === undefined ? [] : [content];
  });
  return found.length === 2 && found[0]!.equals(found[1]!) ? found.slice(0, 1) : found;
}

function readSmall(path: string): Buffer | undefined {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    return undefined;
  }
  try {
    const content = readFileSync(fd);
    return content.length > MAX_BYTES ? undefined : content;
  } catch {
    return undefined;
  } finally {
    closeSync(fd);
  }
}

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
