import { randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { LoamError } from './errors.js';

/** Path of the unfinished file: beside its target, so that the rename stays within one file system. */
function partialPath(path: string): string {
  return join(dirname(path), `.${basename(path)}.${randomBytes(4).toString('hex')}.partial`);
}

const elsewhere = 'choose another path with --out or LOAM_HOME';

/** Turns the errors of a full or read-only disk into a sentence that says what to do. */
export function explainWriteError(error: unknown, path: string): unknown {
  const code = (error as NodeJS.ErrnoException)?.code;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new LoamError(
      { found: 'the disk is full', where: path, fix: 'free some space and run again; nothing was left half-written' },
      { cause: error },
    );
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return new LoamError({ found: 'no permission to write here', where: path, fix: elsewhere }, { cause: error });
  }
  if (code === 'EISDIR' || code === 'ENOTDIR' || code === 'EEXIST') {
    return new LoamError(
      { found: 'the path is not a file that can be written', where: path, fix: elsewhere },
      { cause: error },
    );
  }
  // The folder is there: /proc and its like take no files of ours.
  if (code === 'ENOENT') {
    return new LoamError({ found: 'no file can be made here', where: path, fix: elsewhere }, { cause: error });
  }
  return error;
}

/**
 * Writes a file that appears under its name only when complete: `write` fills a partial file beside it, which is then synced
 * to disk and renamed. On any failure the partial file is removed and an older file of that name stays as it was.
 */
export async function writeFileAtomic(
  path: string,
  write: ((file: FileHandle) => Promise<void>) | Uint8Array | string,
  mode = 0o600,
): Promise<void> {
  const partial = partialPath(path);
  try {
    await mkdir(dirname(path), { recursive: true });
    const file = await open(partial, 'wx', mode);
    try {
      if (typeof write === 'function') await write(file);
      else await file.writeFile(write);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true }).catch(() => {});
    throw explainWriteError(error, path);
  }
}
