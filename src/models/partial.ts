import { createHash, type Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isDiskFull, LoamError, systemCode } from '../base/errors.js';
import { bytes } from '../base/format.js';
import { explainWriteError, publish, readChunks, writeAll, writeFileAtomic } from '../base/io.js';
import { openOwn, readOwn } from '../base/ownFiles.js';
import { type Expected, SourceError } from './download.js';

/** A file on its way, and the checks that it has to pass before it takes its name. */

/** What is known of a partial file, kept beside it as FILE.partial.json. */
export interface Known extends Expected {
  /** The hub's address of the file, without the signed one it leads to. */
  url: string;
  /** Validator of the server that sent the bytes, for If-Range; null when it gave none that is strong. */
  etag: string | null;
}

/**
 * Bytes are appended and hashed as they come, and the file takes its final name only once the caller has found size and hash right.
 * It is kept between runs, so that a download continues where it stopped.
 */
export class PartialFile {
  /** Bytes written and hashed. */
  length = 0;
  /** The first four bytes, or as many as there are. */
  head: Buffer = Buffer.alloc(0);
  private hash: Hash = createHash('sha256');

  private constructor(
    private readonly path: string,
    private readonly file: FileHandle,
    /** Null when nothing usable is kept beside the file. */
    public known: Known | null,
  ) {}

  /** Opens or creates the file; what it already holds counts only after `readExisting`. Throws LoamError. */
  static async open(path: string): Promise<PartialFile> {
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      // 'a+' would append wherever another process left the end; r+ writes where we say.
      const file = await openOwn(path, constants.O_RDWR).catch((error: unknown) => {
        if (systemCode(error) !== 'ENOENT') throw error;
        return open(path, 'wx+', 0o600);
      });
      return new PartialFile(path, file, await readKnown(`${path}.json`));
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
    for await (const chunk of readChunks(this.file, this.length, signal)) {
      this.take(chunk);
      yield this.length;
    }
  }

  private take(chunk: Buffer): void {
    this.hash.update(chunk);
    if (this.head.length < 4) this.head = Buffer.concat([this.head, chunk.subarray(0, 4 - this.head.length)]);
    this.length += chunk.length;
  }

  /** Appends, and refuses what does not begin as a GGUF file. LoamError when the disk is full; the bytes before stay. */
  async append(chunk: Buffer, host: string): Promise<void> {
    try {
      await writeAll(this.file, chunk, this.length);
    } catch (error) {
      if (!isDiskFull(error)) {
        const known = explainWriteError(error, this.path);
        if (known instanceof LoamError) throw known;
        const found = `writing failed (${systemCode(error)})`;
        throw new LoamError({ code: 'unwritable', found, where: this.path }, { cause: error });
      }
      throw new LoamError(
        {
          code: 'disk-full',
          found: `the disk became full after ${bytes(this.length)}`,
          where: this.path,
          fix: 'free some space and run again, it continues from there; loam models rm removes what has arrived',
        },
        { cause: error },
      );
    }
    this.take(chunk);
    if (this.head.length === 4) checkMagic(this.head, host);
  }

  /** Keeps beside the file what is known of it, for a later run. */
  async remember(known: Known): Promise<void> {
    this.known = known;
    await writeFileAtomic(`${this.path}.json`, `${JSON.stringify({ version: 1, ...known }, null, 2)}\n`);
  }

  /** Forgets everything. */
  async restart(): Promise<void> {
    if ((await this.sizeOnDisk()) > 0) await this.file.truncate(0);
    this.hash = createHash('sha256');
    this.head = Buffer.alloc(0);
    this.length = 0;
    this.known = null;
    await rm(`${this.path}.json`, { force: true });
  }

  /** SourceError unless the file has the size, hash and first bytes it should have. */
  check({ size, sha256 }: Expected, host: string): void {
    if (this.length !== size) {
      throw new SourceError({
        code: 'checksum',
        found: `${host} sent ${bytes(this.length)}`,
        expected: bytes(size),
        fix: 'run again',
      });
    }
    const found = this.hash.copy().digest('hex');
    if (found !== sha256) {
      throw new SourceError({
        code: 'checksum',
        found: `the file from ${host} has the SHA-256 ${found}`,
        expected: sha256,
        fix: 'the download was damaged or is another file, and was removed; run again, and use another network if it recurs',
      });
    }
    checkMagic(this.head, host);
  }

  /** Syncs to disk and gives the file its final name, replacing an older file of that name. Closes it. */
  async publish(path: string): Promise<void> {
    try {
      await this.file.sync();
      await this.file.close();
      await publish(this.path, path);
      await rm(`${this.path}.json`, { force: true });
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
    await rm(`${this.path}.json`, { force: true });
  }
}

/** Bytes of the largest file that can be what is known of a download. */
const MOST_KNOWN = 64 << 10;

/** Null when there is none or it cannot be used: the download then starts from nothing. */
async function readKnown(path: string): Promise<Known | null> {
  try {
    const value = JSON.parse(readOwn(path, MOST_KNOWN)!.toString('utf8')) as Partial<Known> & { version?: unknown };
    const { version, url, sha256, size, etag, commit } = value;
    if (version !== 1 || typeof url !== 'string' || typeof sha256 !== 'string' || typeof size !== 'number') return null;
    const text = (v: unknown) => (typeof v === 'string' ? v : null);
    return { url, sha256, size, etag: text(etag), commit: text(commit) };
  } catch {
    return null;
  }
}

/** SourceError unless the first bytes are those of a GGUF file ("GGUF", ggml docs/gguf.md). */
function checkMagic(head: Buffer, host: string): void {
  if (head.toString('latin1') === 'GGUF') return;
  // '<' opens every web page and every XML error of a CDN
  if (head[0] === 0x3c) throw webPage(host);
  throw new SourceError({
    code: 'wrong-format',
    found: `${host} sent a file that begins with the bytes ${head.toString('hex')}`,
    expected: 'those of a GGUF file (47475546)',
    fix: 'its owner may have replaced it; choose another model or source',
  });
}

/** A page for people came instead of the file. */
export function webPage(host: string, how?: { remedy: 'none' }): SourceError {
  return new SourceError(
    {
      code: 'wrong-format',
      found: `${host} sent a web page instead of the model`,
      expected: 'a GGUF file',
      fix: 'a network that asks to sign in or blocks the site does this; open a browser and see, or use another network',
    },
    how,
  );
}

/** Bytes of a file, or of all files below a folder; what vanishes meanwhile counts nothing. */
export async function bytesBelow(path: string): Promise<number> {
  const found = await stat(path).catch(() => null);
  if (!found?.isDirectory()) return found?.size ?? 0;
  const names = await readdir(path).catch((): string[] => []);
  const sizes = await Promise.all(names.map((name) => bytesBelow(join(path, name))));
  return sizes.reduce((sum, size) => sum + size, 0);
}
