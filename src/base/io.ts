import { createHash } from 'node:crypto';
import { constants, type StatsFs } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm, stat, statfs } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { type Fault, LoamError, systemCode, throwIfStopped, UsageError } from './errors.js';
import { Run } from './events.js';
import { bytes as asBytes } from './format.js';
import { partialPath, sweepOnce } from './unfinished.js';

/** Files: read to the byte, written to the end and only under their name when complete, hashed; the system's errors in words. */

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
  if (code === undefined) return error;
  return new LoamError(
    {
      code: code === 'ENOENT' || code === 'ENOTDIR' ? 'not-found' : 'unreadable',
      found: reasons[code] ?? `the file cannot be read (${code})`,
      where: path,
      expected: code === 'EISDIR' ? 'a file' : undefined,
    },
    { cause: error },
  );
}

/**
 * Opens a regular file for reading, with its size in bytes. Pipes, devices, sockets and folders are refused: they have no size that
 * offsets could be checked against. Throws LoamError.
 */
export async function openRegularFile(path: string): Promise<{ file: FileHandle; size: number }> {
  let file: FileHandle | undefined;
  try {
    // Without O_NONBLOCK (absent on Windows) opening a named pipe waits for its writer, perhaps forever.
    file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    const stat = await file.stat();
    if (!stat.isFile()) {
      const found = stat.isDirectory() ? 'this is a folder' : 'this is a device, pipe or socket';
      throw new LoamError({ code: 'unreadable', found, expected: 'a regular file', where: path });
    }
    return { file, size: stat.size };
  } catch (error) {
    await file?.close();
    throw explainReadError(error, path);
  }
}

/** What can be read at any place: a file handle, or one that decrypts. */
export interface Positioned {
  read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }>;
}

/** Bytes asked of the system or handed to it at once; it takes less than 2^31 per call. */
const CALL_BYTES = 64 * 1024 * 1024;

/** Fills `target` from `position` on. @returns bytes read: fewer than asked for only if the file ends there */
export async function readFully(file: Positioned, target: Uint8Array, position: number): Promise<number> {
  let done = 0;
  while (done < target.length) {
    const length = Math.min(CALL_BYTES, target.length - done);
    const { bytesRead } = await file.read(target, done, length, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}

/** The first bytes of a file, fewer if it is shorter. Throws the file system's errors. */
export async function readStart(path: string, bytes: number): Promise<Buffer> {
  await using file = await open(path, 'r');
  const start = Buffer.alloc(bytes);
  return start.subarray(0, await readFully(file, start, 0));
}

/** A whole file. @throws LoamError if it cannot be read or has more than `most` bytes (too-large) */
export async function readBounded(path: string, most: number): Promise<Buffer> {
  const { file, size } = await openRegularFile(path);
  await using _ = file;
  if (size > most) {
    throw new LoamError({
      code: 'too-large',
      found: `a file of ${asBytes(size)}`,
      expected: `at most ${asBytes(most)}`,
      where: path,
    });
  }
  const bytes = Buffer.alloc(size);
  try {
    return bytes.subarray(0, await readFully(file, bytes, 0));
  } catch (error) {
    throw explainReadError(error, path);
  }
}

/** The same as text. @throws LoamError for bytes that are not UTF-8 */
export async function readText(path: string, most: number): Promise<string> {
  const bytes = await readBounded(path, most);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new LoamError(
      { code: 'damaged', found: 'bytes that are not UTF-8', expected: 'text', where: path },
      { cause },
    );
  }
}

/** What a read gives, or undefined if there is no such file. */
export async function ifPresent<T>(read: Promise<T>): Promise<T | undefined> {
  try {
    return await read;
  } catch (error) {
    if (error instanceof LoamError && error.code === 'not-found') return undefined;
    throw error;
  }
}

/** Large reads keep flash storage near its sequential speed. */
const CHUNK_BYTES = 4 * 1024 * 1024;

/** The file from `position` on, in chunks that share one buffer. Throws the file system's errors, StoppedError. */
export async function* readChunks(file: Positioned, position = 0, signal?: AbortSignal): AsyncGenerator<Buffer, void> {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  for (;;) {
    throwIfStopped(signal);
    const read = await readFully(file, buffer, position);
    if (read > 0) yield buffer.subarray(0, read);
    if (read < CHUNK_BYTES) return;
    position += read;
  }
}

/** The SHA-256 of a file, hex; its events are the bytes done and all. The result rejects with the file system's errors, and StoppedError. */
export function hashFile(path: string, signal?: AbortSignal): Run<{ done: number; total: number }, string> {
  return new Run(async (emit, signal) => {
    await using file = await open(path, 'r');
    const total = (await file.stat()).size;
    const hash = createHash('sha256');
    let done = 0;
    for await (const chunk of readChunks(file, 0, signal)) {
      hash.update(chunk);
      done += chunk.length;
      emit({ done, total });
    }
    return hash.digest('hex');
  }, signal);
}

/** Writes all bytes, at `position` or at the file's own: one system call may take only some of them. */
export async function writeAll(file: FileHandle, bytes: Uint8Array, position?: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const length = Math.min(CALL_BYTES, bytes.length - done);
    const at = position === undefined ? null : position + done;
    done += (await file.write(bytes, done, length, at)).bytesWritten;
  }
}

/** Errors of a disk that has not kept what it was asked to; any other says that this system syncs no folders. */
const unkept = new Set(['EIO', 'ENOSPC', 'EDQUOT']);

/**
 * Asks the disk to keep the names in a folder (fsync(2): syncing a file does not sync its name). On systems that cannot (Windows opens
 * no folders, some file systems refuse) a power cut may undo the last renames: the older files come back. Throws the system's error if
 * the disk fails.
 */
export async function syncFolder(folder: string): Promise<void> {
  try {
    await using handle = await open(folder, 'r');
    await handle.sync();
  } catch (error) {
    if (unkept.has(systemCode(error) ?? '')) throw error;
  }
}

/** Refuses an output that is also an input, by whatever path. */
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

const elsewhere = 'choose another path with --out or LOAM_HOME';

/** What a writing error of the system means, by its code. */
const writeFaults: Record<string, Fault> = {
  ENOSPC: {
    code: 'disk-full',
    found: 'the disk is full',
    fix: 'free some space and run again; nothing was left half-written',
  },
  EACCES: { code: 'unwritable', found: 'no permission to write here' },
  EISDIR: { code: 'unwritable', found: 'the path is not a file that can be written' },
  // The folder exists: /proc and the like take no files of ours.
  ENOENT: { code: 'unwritable', found: 'no file can be made here' },
  EMFILE: {
    code: 'unwritable',
    found: 'too many files are open',
    fix: 'end other programs, or raise the limit (ulimit -n), and run again',
  },
};
const sameFault: Record<string, string> = {
  EDQUOT: 'ENOSPC',
  EPERM: 'EACCES',
  EROFS: 'EACCES',
  ENOTDIR: 'EISDIR',
  ENFILE: 'EMFILE',
  EEXIST: 'EISDIR',
};

/** Turns a writing error of the system into a sentence that says what to do; any other error comes back as it is. */
export function explainWriteError(error: unknown, path: string): unknown {
  const code = systemCode(error);
  // Errors of Node itself, such as a wrong argument, are bugs.
  if (code === undefined || code.startsWith('ERR_')) return error;
  const fault = writeFaults[sameFault[code] ?? code] ?? {
    code: 'unwritable',
    found: `the file system failed while it was written (${code})`,
    fix: 'see whether the disk is healthy, and run again',
  };
  return new LoamError({ where: path, fix: elsewhere, ...fault }, { cause: error });
}

/** Makes a folder and those above it, and asks the disk to keep their names. */
export async function makeFolder(folder: string, mode = 0o777): Promise<void> {
  const first = await mkdir(folder, { recursive: true, mode });
  if (first === undefined) return;
  for (let made = resolve(folder); made.length >= resolve(first).length; made = dirname(made)) {
    await syncFolder(dirname(made));
  }
}

/** Gives a file that is complete its name, for good: after a power cut it has the name and its content. */
export async function publish(partial: string, path: string): Promise<void> {
  await rename(partial, path);
  await syncFolder(dirname(path));
}

/**
 * Writes a file that appears under its name only when complete: `write` fills a partial file beside it, which is then synced
 * to disk and renamed, and the name is synced too, so what it was made from may go. On any failure the partial file is removed and an
 * older file of that name stays as it was. What dead processes have left unfinished in the folder is removed.
 */
export async function writeFileAtomic(
  path: string,
  write: ((file: FileHandle) => Promise<void>) | Uint8Array | string,
  mode = 0o600,
): Promise<void> {
  const partial = partialPath(path);
  try {
    await makeFolder(dirname(path));
    await sweepOnce(dirname(path));
    {
      await using file = await open(partial, 'wx', mode);
      if (typeof write === 'function') await write(file);
      else await file.writeFile(write);
      await file.sync();
    }
    await publish(partial, path);
  } catch (error) {
    await rm(partial, { force: true }).catch(() => {});
    throw explainWriteError(error, path);
  }
}

/** The folder of a file, or the nearest one above it that exists. */
export async function nearestFolder(path: string): Promise<string> {
  let folder = dirname(path);
  while (folder !== dirname(folder) && !(await stat(folder).catch(() => undefined))) folder = dirname(folder);
  return folder;
}

/**
 * Checks that a file can be made under this name, before the work whose result it will hold: tries with an empty file in the folder, or in
 * the nearest one that exists. Makes no folder.
 * @throws LoamError that says what is in the way
 */
export async function requireWritable(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  // The rename at the end would put a file in the place of a device such as /dev/null.
  if (found && !found.isFile()) {
    throw new LoamError({
      code: 'unwritable',
      found: found.isDirectory() ? 'this is a folder' : 'this is a pipe or a device',
      expected: 'the path of a file to write',
      where: path,
      fix: 'choose another path',
    });
  }
  const folder = await nearestFolder(path);
  const probe = partialPath(join(folder, 'probe'));
  try {
    await sweepOnce(folder);
    await (await open(probe, 'wx', 0o600)).close();
    await rm(probe);
  } catch (error) {
    throw explainWriteError(error, path);
  }
}

/** Free bytes that a user may write in a folder, or in the nearest one above it that exists; null if the file system does not say. */
export async function freeBytes(folder: string): Promise<number | null> {
  const found = await fileSystemOf(folder);
  return found ? found.bavail * found.bsize : null;
}

/** The file system of a folder, or of the nearest one above it that exists; undefined where the system does not say. */
export async function fileSystemOf(folder: string): Promise<StatsFs | undefined> {
  return await statfs(await nearestFolder(join(folder, 'any'))).catch(() => undefined);
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
    found: `${what.name} needs ${asBytes(need)} and the disk has ${asBytes(have)} free`,
    expected: `at least ${asBytes(need + RESERVE)}`,
    where: folder,
    fix: what.fix,
  });
}
