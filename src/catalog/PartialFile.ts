import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LoamError, throwIfStopped } from '../util/errors.js';
import { bytes } from '../util/format.js';
import { explainWriteError } from '../util/writeFileAtomic.js';

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
      const { code } = error as NodeJS.ErrnoException;
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
