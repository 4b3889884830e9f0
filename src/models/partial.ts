import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, rm, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LoamError, systemCode, throwIfStopped } from '../base/errors.js';
import { bytes, count } from '../base/format.js';
import { explainWriteError } from '../base/io.js';
import { SourceError } from './http.js';
import { contentRange, type HubAnswer } from './hub.js';
import type { Fetchable } from './register.js';

const CHUNK = 4 * 1024 * 1024;

/**
 * A file on its way: bytes are appended and hashed as they come, and it takes its final name only once the caller has found
 * size and hash right. It is kept over runs, so that a download goes on where it stopped.
 */
export class PartialFile {
  /** Bytes written and hashed. */
  length = 0;
  /** The first four bytes, or as many as there are. */
  head: Buffer = Buffer.alloc(0);
  private hash: Hash = createHash('sha256');

  private constructor(
    readonly path: string,
    private readonly file: FileHandle,
  ) {}

  /** Opens or creates the file; what it already holds counts only after `readExisting`. Throws LoamError. */
  static async open(path: string): Promise<PartialFile> {
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      // 'a+' would append wherever another process left the end; r+ writes where we say.
      const file = await open(path, 'r+').catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
        return open(path, 'wx+', 0o600);
      });
      return new PartialFile(path, file);
    } catch (error) {
      throw explainWriteError(error, path);
    }
  }

  /** Bytes on disk, whether hashed or not. */
  async sizeOnDisk(): Promise<number> {
    return (await this.file.stat()).size;
  }

  /** Hashes what is on disk; yields the bytes done. */
  async *readExisting(signal?: AbortSignal): AsyncGenerator<number> {
    const buffer = Buffer.allocUnsafe(CHUNK);
    for (;;) {
      throwIfStopped(signal);
      const { bytesRead } = await this.file.read(buffer, 0, CHUNK, this.length);
      if (bytesRead === 0) return;
      this.take(buffer.subarray(0, bytesRead));
      yield this.length;
    }
  }

  private take(chunk: Buffer): void {
    this.hash.update(chunk);
    if (this.head.length < 4) this.head = Buffer.concat([this.head, chunk.subarray(0, 4 - this.head.length)]);
    this.length += chunk.length;
  }

  /** Appends. LoamError when the disk is full; the bytes before stay. */
  async append(chunk: Buffer): Promise<void> {
    let written = 0;
    try {
      while (written < chunk.length) {
        const rest = chunk.length - written;
        written += (await this.file.write(chunk, written, rest, this.length + written)).bytesWritten;
      }
    } catch (error) {
      const code = systemCode(error);
      if (code !== 'ENOSPC' && code !== 'EDQUOT') {
        const known = explainWriteError(error, this.path);
        if (known instanceof LoamError) throw known;
        throw new LoamError({ found: `writing failed (${code})`, where: this.path }, { cause: error });
      }
      throw new LoamError(
        {
          found: `the disk became full after ${bytes(this.length)}`,
          where: this.path,
          fix: 'free some space and run again, it goes on from there; loam models rm removes what has arrived',
        },
        { cause: error },
      );
    }
    this.take(chunk);
  }

  /** Forgets everything. */
  async restart(): Promise<void> {
    await this.file.truncate(0);
    this.hash = createHash('sha256');
    this.head = Buffer.alloc(0);
    this.length = 0;
  }

  /** Hex SHA-256 of the bytes so far. */
  sha256(): string {
    return this.hash.copy().digest('hex');
  }

  /** Syncs to disk and gives the file its final name, replacing an older file of that name. Closes it. */
  async publish(path: string): Promise<void> {
    try {
      await this.file.sync();
      await this.file.close();
      await rename(this.path, path);
    } catch (error) {
      throw explainWriteError(error, path);
    }
  }

  /** Closes the file and leaves it for another run; harmless when it is closed. */
  async close(): Promise<void> {
    await this.file.close().catch(() => {});
  }

  /** Closes and deletes. */
  async remove(): Promise<void> {
    await this.close();
    await rm(this.path, { force: true });
  }
}

/** A page for people came where a file was asked for. */
export function webPage(host: string, how: { startOver?: boolean } = {}): SourceError {
  return new SourceError(
    {
      found: `${host} sent a web page instead of the model`,
      expected: 'a GGUF file',
      fix: 'a network that asks to sign in or blocks the site does this; open a browser and see, or use another network',
    },
    how,
  );
}

/** SourceError unless the first bytes are those of a GGUF file ("GGUF", ggml docs/gguf.md); needs four bytes. */
export function checkMagic(head: Buffer, host: string): void {
  if (head.toString('latin1') === 'GGUF') return;
  // '<' opens every web page and every XML error of a CDN
  if (head[0] === 0x3c) throw webPage(host, { startOver: true });
  throw new SourceError(
    {
      found: `${host} sent a file that begins with the bytes ${head.toString('hex')}`,
      expected: 'those of a GGUF file (47475546)',
      fix: 'its owner may have replaced it; choose another model or source',
    },
    { startOver: true },
  );
}

/** SourceError unless the complete file has the size, hash and first bytes it should have. */
export function checkWhole(partial: PartialFile, expected: { size: number; sha256: string }, host: string): void {
  if (partial.length !== expected.size) {
    throw new SourceError(
      { found: `${host} sent ${bytes(partial.length)}`, expected: bytes(expected.size), fix: 'run again' },
      { startOver: true },
    );
  }
  const sha256 = partial.sha256();
  if (sha256 !== expected.sha256) {
    throw new SourceError(
      {
        found: `the file from ${host} has the SHA-256 ${sha256}`,
        expected: expected.sha256,
        fix: 'the download was damaged or is another file, and was removed; run again, and use another network if it recurs',
      },
      { startOver: true },
    );
  }
  checkMagic(partial.head, host);
}

/** The whole file's size and hash, from the entry and what the hub says. SourceError when they disagree or are unknown. */
export function expectation(
  entry: Fetchable,
  { stated, status, headers, host }: HubAnswer,
): { size: number; sha256: string } {
  const length = headers['content-length'];
  const whole = length === undefined ? undefined : Number(length);
  const sent = status === 206 ? contentRange(headers['content-range'])?.total : whole;
  const size = stated.size ?? sent ?? (entry.approximateSize ? undefined : entry.size);
  const sha256 = entry.sha256 ?? stated.sha256;
  const fix = 'its owner may have replaced it: loam models add hub:owner/repository/file.gguf takes it as it is now';
  if (stated.sha256 !== undefined && stated.sha256 !== sha256) {
    throw new SourceError({
      found: `the file on the hub has the SHA-256 ${stated.sha256}`,
      expected: sha256!,
      fix,
    });
  }
  if (sha256 === undefined) {
    throw new SourceError({
      found: `${host} states no SHA-256 for this file, so the download could not be checked`,
      fix: 'download it by hand if you trust it, and use loam models add FILE',
    });
  }
  if (size === undefined)
    throw new SourceError({ found: `${host} does not say how large the file is`, fix: 'run again' });
  if (!entry.approximateSize && size !== entry.size) {
    throw new SourceError({
      found: `${host} has ${count(size)} bytes under this name`,
      expected: count(entry.size),
      fix,
    });
  }
  if (sent !== undefined && sent !== size) {
    throw new SourceError(
      { found: `${host} would send a file of ${count(sent)} bytes`, expected: count(size) },
      { transient: true, startOver: true },
    );
  }
  return { size, sha256 };
}

/** Left free beside the download, so that a full disk does not stop the rest of the device. */
const RESERVE = 64 * 1024 * 1024;

/** Free bytes a user may write in a folder; null where the file system does not say. */
export async function freeBytes(folder: string): Promise<number | null> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch {
    return null;
  }
}

/** LoamError when the disk of `folder` cannot take `need` more bytes (of `what`) and keep 64 MiB free. */
export async function requireFreeSpace(
  folder: string,
  need: number,
  free: (folder: string) => Promise<number | null> = freeBytes,
  what = { name: 'this download', fix: 'free some space, or set LOAM_HOME to a folder on another disk' },
): Promise<void> {
  const have = await free(folder);
  if (have === null || have >= need + RESERVE) return;
  throw new LoamError({
    found: `${what.name} needs ${bytes(need)} and the disk has ${bytes(have)} free`,
    expected: `at least ${bytes(need + RESERVE)}`,
    where: folder,
    fix: what.fix,
  });
}

/** Says whether it is time for another progress event: at most one every `milliseconds`, the first at once. */
export function throttle(milliseconds: number): () => boolean {
  let last = Number.NEGATIVE_INFINITY;
  return () => {
    const now = performance.now();
    if (now - last < milliseconds) return false;
    last = now;
    return true;
  };
}
