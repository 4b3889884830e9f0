import { existsSync, readdirSync } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../base/errors.js';
import { explainWriteError, syncFolder, writeAll } from '../base/io.js';
import { openOwn, sizeOf } from '../base/ownFiles.js';
import { partialPath } from '../base/unfinished.js';

/** What lies among the blobs. */
interface Listed {
  file: string;
  /** Its name, if it is one. */
  blob?: string;
  /** The name that it is to have, while it is unfinished. */
  unfinished?: string;
}

/**
 * The files with the contents of a vault (blobs): each is written once, under a random name of 32 hex digits. Until the index names it,
 * it lies under a name that tells which process writes it (`unfinished.ts`).
 */
export class BlobFiles {
  /** What this process has not given its name yet. */
  private readonly partials = new Map<string, string>();

  constructor(readonly folder: string) {}

  path(name: string): string {
    return join(this.folder, name);
  }

  /** Writes a new blob, which is on the disk when this ends, without giving it its name. */
  async create(name: string, pieces: () => Promise<AsyncIterable<Uint8Array>>): Promise<void> {
    const partial = partialPath(this.path(name));
    this.partials.set(name, partial);
    try {
      await mkdir(this.folder, { recursive: true, mode: 0o700 });
      {
        await using file = await open(partial, 'wx', 0o600);
        for await (const piece of await pieces()) await writeAll(file, piece);
        await file.sync();
      }
      await syncFolder(this.folder);
    } catch (error) {
      await this.discard(name);
      throw explainWriteError(error, this.folder);
    }
  }

  /**
   * Gives a blob its name. A power cut may take that back; the next opening does it again.
   * @param file under which it lies; what `create` of this process made if absent
   */
  async publish(name: string, file?: string): Promise<void> {
    const partial = file === undefined ? this.partials.get(name) : this.path(file);
    try {
      if (partial !== undefined) await rename(partial, this.path(name));
      this.partials.delete(name);
    } catch (error) {
      throw explainWriteError(error, this.path(name));
    }
  }

  /** Removes what `create` has made. */
  async discard(name: string): Promise<void> {
    const partial = this.partials.get(name);
    this.partials.delete(name);
    if (partial !== undefined) await rm(partial, { force: true }).catch(() => {});
  }

  /** A file that cannot be removed is noise, and the next sweep tries again. */
  async remove(files: readonly string[]): Promise<void> {
    if (files.length === 0) return;
    for (const file of files) await rm(this.path(file), { force: true }).catch(() => {});
    await syncFolder(this.folder);
  }

  /** Opens a blob that the index names, also if its writer has not come to giving it its name. Throws the file system's errors. */
  async open(name: string): Promise<FileHandle> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await openOwn(this.path(name));
      } catch (error) {
        if (systemCode(error) !== 'ENOENT' || attempt === 2) throw error;
      }
      const partial = (await this.list()).find(({ unfinished }) => unfinished === name);
      const file = partial && (await openOwn(this.path(partial.file)).catch(() => undefined));
      if (file) return file;
    }
  }

  async list(): Promise<Listed[]> {
    const files = await readdir(this.folder).catch((): string[] => []);
    return files.map((file) => {
      const unfinished = (PARTIAL.exec(file) ?? EARLIER.exec(file))?.[1];
      if (unfinished !== undefined) return { file, unfinished };
      return /^[0-9a-f]{32}$/.test(file) ? { file, blob: file } : { file };
    });
  }

  has(name: string): boolean {
    return sizeOf(this.path(name)) > 0;
  }

  /** Whether anything lies there. */
  get isEmpty(): boolean {
    return !existsSync(this.folder) || readdirSync(this.folder).length === 0;
  }

  /** Bytes on the disk; 0 for one that is gone. */
  bytes(name: string): number {
    return sizeOf(this.path(name));
  }

  /** Bytes of all files, those that no entry names included. */
  allBytes(): number {
    if (!existsSync(this.folder)) return 0;
    return readdirSync(this.folder).reduce((sum, name) => sum + this.bytes(name), 0);
  }
}

const PARTIAL = /^\.([0-9a-f]{32})\..+\.partial$/;
const EARLIER = /^\.\d+-([0-9a-f]{32})\.partial$/;
