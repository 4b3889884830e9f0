import { createHash } from 'node:crypto';
import { open, stat } from 'node:fs/promises';
import { LoamError } from '../util/errors.js';
import { bytes as inUnits } from '../util/format.js';
import { MAX_FILE_BYTES } from './limits.js';
import type { Pace } from './pace.js';
import type { NamedBytes } from './types.js';

const CHUNK_BYTES = 1 << 20;

export interface Source {
  bytes: Buffer;
  /** Lower-case hex. */
  sha256: string;
}

function explain(error: unknown, path: string): unknown {
  if (error instanceof LoamError) return error;
  const code = (error as NodeJS.ErrnoException).code;
  const where = path.replaceAll('\0', '?');
  if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ERR_INVALID_ARG_VALUE') {
    return new LoamError({ found: 'there is no such file', where, fix: 'check the path' }, { cause: error });
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return new LoamError({ found: 'no permission to read this file', where }, { cause: error });
  }
  return new LoamError({ found: `the file cannot be read (${code ?? 'unknown error'})`, where }, { cause: error });
}

function checkSize(size: number, where: string): void {
  if (size === 0) throw new LoamError({ found: 'the file is empty', expected: 'examples', where });
  if (size > MAX_FILE_BYTES) {
    throw new LoamError({
      found: `the file has ${inUnits(size)}`,
      expected: `at most ${inUnits(MAX_FILE_BYTES)}`,
      where,
      fix: 'split it',
    });
  }
}

/** The same of bytes at hand. Throws LoamError for none or too many. */
export async function hashBytes({ name, bytes }: NamedBytes, pace: Pace): Promise<Source> {
  checkSize(bytes.length, name);
  const hash = createHash('sha256');
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    hash.update(bytes.subarray(at, at + CHUNK_BYTES));
    if (pace.due) await pace.rest();
  }
  return { bytes: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), sha256: hash.digest('hex') };
}

/**
 * Reads a whole example file and its SHA-256. Only regular files: a pipe or a device has no size to hold against the limit.
 * @throws LoamError when it is missing, unreadable, not a file, empty, larger than MAX_FILE_BYTES, or changes while it is read.
 */
export async function readSource(path: string, pace: Pace): Promise<Source> {
  try {
    // Before open: opening a pipe that nobody writes to would wait for ever.
    const kind = await stat(path);
    if (kind.isDirectory()) {
      throw new LoamError({ found: 'this is a folder', expected: 'a file of examples', where: path });
    }
    if (!kind.isFile()) {
      throw new LoamError({ found: 'this is a pipe or a device', expected: 'a file of examples', where: path });
    }
    const file = await open(path, 'r');
    try {
      const { size } = await file.stat();
      checkSize(size, path);
      const bytes = Buffer.allocUnsafe(size);
      const hash = createHash('sha256');
      for (let at = 0; at < size; ) {
        const { bytesRead } = await file.read(bytes, at, Math.min(CHUNK_BYTES, size - at), at);
        if (bytesRead === 0) break;
        hash.update(bytes.subarray(at, at + bytesRead));
        at += bytesRead;
        if (pace.due) await pace.rest();
      }
      const after = await file.stat();
      if (after.size !== size || after.mtimeMs > kind.mtimeMs) {
        throw new LoamError({ found: 'the file changed while it was read', where: path, fix: 'run again' });
      }
      return { bytes, sha256: hash.digest('hex') };
    } finally {
      await file.close();
    }
  } catch (error) {
    throw explain(error, path);
  }
}
