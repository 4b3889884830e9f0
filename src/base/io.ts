import { createHash, randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm, stat, statfs } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { LoamError, systemCode, throwIfStopped, UsageError } from './errors.js';
import { Run } from './events.js';
import { bytes } from './format.js';

const reasons: Record<string, string> = {
  ENOENT: 'there is no file here',
  ENOTDIR: 'there is no file here',
  EACCES: 'no permission to read this file',
  EPERM: 'no permission to read this file',
  EISDIR: 'this is a folder',
  ELOOP: 'this is a loop of links',
};

/** Turns a reading error of the system into a sentence; any other error (a bug, a LoamError) comes back as it is. */
export function explainReadError(error: unknown, path: string): unknown {
  const code = systemCode(error);
  if (typeof code !== 'string') return error;
  const found = reasons[code] ?? `the file cannot be read (${code})`;
  return new LoamError({ found, where: path, expected: code === 'EISDIR' ? 'a file' : undefined }, { cause: error });
}

/**
 * Opens a regular file for reading and tells its size in bytes. Pipes, devices, sockets and folders are refused: they have
 * no size that tensor offsets could be held against. Throws LoamError.
 */
export async function openRegularFile(path: string): Promise<{ file: FileHandle; size: number }> {
  let file: FileHandle | undefined;
  try {
    // Without O_NONBLOCK (absent on Windows) opening a named pipe waits for its writer, perhaps for ever.
    file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    const stat = await file.stat();
    if (!stat.isFile()) {
      const found = stat.isDirectory() ? 'this is a folder' : 'this is a device, pipe or socket';
      throw new LoamError({ found, expected: 'a regular file', where: path });
    }
    return { file, size: stat.size };
  } catch (error) {
    await file?.close();
    throw explainReadError(error, path);
  }
}

/** Bytes asked of the system at once; Node refuses reads of 2^31 bytes and more. */
const READ_BYTES = 64 * 1024 * 1024;

/** Fills `target` from `position` on. @returns bytes read: fewer than asked for only where the file ends */
export async function readFully(file: FileHandle, target: Uint8Array, position: number): Promise<number> {
  let done = 0;
  while (done < target.length) {
    const length = Math.min(READ_BYTES, target.length - done);
    const { bytesRead } = await file.read(target, done, length, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}

/** Bytes handed to the system at once: it takes less than 2^31 a call. */
const WRITE_BYTES = 64 * 1024 * 1024;

/** Writes all bytes at the file's position: one call of the system may take only some of them. */
export async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, Math.min(WRITE_BYTES, bytes.length - done))).bytesWritten;
  }
}

/**
 * Asks the disk to keep the names in a folder (fsync(2): syncing a file does not sync its name). Where a system has no such
 * thing (Windows opens no folders, some file systems refuse) a power cut may undo the last renames: the older files come back.
 */
export async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch {
    // As good as this system allows.
  }
}

/** Refuses an output that is one of the inputs, by whatever path. */
export async function requireFree(out: string, inputs: readonly (string | undefined)[]): Promise<void> {
  const identity = async (path: string) => {
    const found = await stat(path, { bigint: true }).catch(() => undefined);
    return found && `${found.dev} ${found.ino}`;
  };
  const own = await identity(out);
  for (const input of inputs) {
    if (input === undefined) continue;
    if (resolve(input) === out || (own !== undefined && own === (await identity(input)))) {
      throw new UsageError({ found: '--out names a file that is read', where: out, fix: 'choose another path' });
    }
  }
}

/** Path of the unfinished file: beside its target, so that the rename stays within one file system. */
function partialPath(path: string): string {
  return join(dirname(path), `.${basename(path)}.${randomBytes(4).toString('hex')}.partial`);
}

const elsewhere = 'choose another path with --out or LOAM_HOME';

/** Turns the errors of a full or read-only disk into a sentence that says what to do. */
export function explainWriteError(error: unknown, path: string): unknown {
  const code = systemCode(error);
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

/**
 * Checks that a file can be made under this name, before the work whose result it will hold: tries with an empty file in the
 * folder, or in the nearest one that exists. Makes no folder.
 * @throws LoamError that says what is in the way
 */
export async function requireWritable(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  // The rename at the end would put a file in the place of a device such as /dev/null.
  if (found && !found.isFile()) {
    throw new LoamError({
      found: found.isDirectory() ? 'this is a folder' : 'this is a pipe or a device',
      expected: 'the path of a file to write',
      where: path,
      fix: 'choose another path',
    });
  }
  let folder = dirname(path);
  while (folder !== dirname(folder) && !(await stat(folder).catch(() => undefined))) folder = dirname(folder);
  const probe = join(folder, `.loam-${process.pid}.probe`);
  try {
    await (await open(probe, 'wx', 0o600)).close();
    await rm(probe);
  } catch (error) {
    throw explainWriteError(error, path);
  }
}

/** Large reads keep flash storage near its sequential speed. */
const CHUNK = 4 * 1024 * 1024;

/** The SHA-256 of a file, hex; its events are the bytes done. The result rejects with the file system's errors, and StoppedError. */
export function hashFile(path: string, signal?: AbortSignal): Run<number, string> {
  return new Run(async (emit, signal) => {
    const file = await open(path, 'r');
    try {
      const hash = createHash('sha256');
      const buffer = Buffer.allocUnsafe(CHUNK);
      let done = 0;
      for (;;) {
        throwIfStopped(signal);
        const { bytesRead } = await file.read(buffer, 0, CHUNK, done);
        if (bytesRead === 0) return hash.digest('hex');
        hash.update(buffer.subarray(0, bytesRead));
        done += bytesRead;
        emit(done);
      }
    } finally {
      await file.close();
    }
  }, signal);
}

/** Free bytes that a user may write in a folder, or in the nearest one above it that exists; null if the file system does not say. */
export async function freeBytes(folder: string): Promise<number | null> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch (error) {
    const parent = dirname(folder);
    return systemCode(error) === 'ENOENT' && parent !== folder ? await freeBytes(parent) : null;
  }
}

/** Left free beside what is written, so that a full disk does not stop the rest of the device. */
const RESERVE = 64 * 1024 * 1024;

/** LoamError when the disk of `folder` cannot take `need` more bytes (of `what`) and keep 64 MiB free. */
export async function requireFreeSpace(
  folder: string,
  need: number,
  free = freeBytes,
  what = { name: 'this download', fix: 'free some space, or set LOAM_HOME to a folder on another disk' },
): Promise<void> {
  const have = await free(folder);
  if (have === null || have >= need + RESERVE) return;
  throw new LoamError({
    code: 'disk-full',
    found: `${what.name} needs ${bytes(need)} and the disk has ${bytes(have)} free`,
    expected: `at least ${bytes(need + RESERVE)}`,
    where: folder,
    fix: what.fix,
  });
}
