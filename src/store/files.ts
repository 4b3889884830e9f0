import { randomBytes } from 'node:crypto';
import { chmodSync, constants, lstatSync } from 'node:fs';
import { type FileHandle, link, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isDiskFull } from '../base/errors.js';
import { explainWriteError, syncFolder, writeAll } from '../base/io.js';
import { openOwn, overwrite, readOwn, shred, sizeOf } from '../base/ownFiles.js';
import { partialPath } from '../base/unfinished.js';
import { BlobFiles } from './blobFiles.js';

/** Small files that are there twice, so that damage to one copy loses nothing; see docs/vault.md for what they hold. */
const pairs = ['key', 'key.age', 'index.key', 'index.sqlite'] as const;
export type Pair = (typeof pairs)[number];

/** Without these nothing of the rest can be read; in the order in which they are destroyed. */
const keyFiles = ['key', 'key.age', 'index.key'] as const satisfies readonly Pair[];

/** Bytes of the largest file that is read: an index of tens of thousands of entries has some megabytes, a file with keys some hundred. */
const MAX_INDEX = 256 << 20;
const MAX_KEYS = 64 << 10;
const most = (name: Pair) => (name === 'index.sqlite' ? MAX_INDEX : MAX_KEYS);

/** Where the vault of a LOAM_HOME lies. */
export function vaultFolder(home: string): string {
  return join(home, 'vault');
}

/**
 * The files of a vault: their names, and the only place that writes them. What is written is on the disk under another name before it
 * takes its own, so a crash or a full disk leaves the old file or the new one.
 */
export class VaultFiles {
  readonly lock: string;
  readonly blobs: BlobFiles;
  private readonly reserve: string;
  private readonly latest: string;
  /** Beside the folder: it stays when another folder is put in its place. */
  private readonly outside: string;

  constructor(readonly folder: string) {
    this.latest = join(folder, 'latest');
    this.outside = `${folder}.latest`;
    this.lock = join(folder, 'lock');
    this.blobs = new BlobFiles(join(folder, 'blobs'));
    this.reserve = join(folder, 'reserve');
  }

  /** Where the first copy of a pair lies, for messages. */
  path(name: Pair): string {
    return join(this.folder, name);
  }

  private copies(name: Pair): [string, string] {
    return [this.path(name), `${this.path(name)}.copy`];
  }

  /** Whether a copy is there. */
  has(name: Pair): boolean {
    return this.copies(name).some((path) => lstatSync(path, { throwIfNoEntry: false }) !== undefined);
  }

  /** Both copies, the first one first; without those that are not there, cannot be read, or are the same. */
  read(name: Pair): Buffer[] {
    const found = this.copies(name).flatMap((path) => readOwn(path, most(name)) ?? []);
    return found.length === 2 && found[0]!.equals(found[1]!) ? found.slice(0, 1) : found;
  }

  /** Whether both copies are there and alike. */
  isWhole(name: Pair): boolean {
    const [first, second] = this.copies(name).map((path) => readOwn(path, most(name)));
    return first !== undefined && second !== undefined && first.equals(second);
  }

  /** Changes whenever a pair is written. */
  signature(name: Pair): string {
    const of = (path: string) => {
      const found = lstatSync(path, { bigint: true, throwIfNoEntry: false });
      return found ? `${found.ino} ${found.size} ${found.mtimeNs}` : 'none';
    };
    return this.copies(name).map(of).join(', ');
  }

  /** Bytes of everything but blobs. */
  controlBytes(): number {
    return [this.reserve, this.latest, ...pairs.flatMap((name) => this.copies(name))].reduce(
      (sum, path) => sum + sizeOf(path),
      0,
    );
  }

  /** Makes the folders, for this user only. */
  async make(): Promise<void> {
    try {
      await mkdir(this.blobs.folder, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw explainWriteError(error, this.folder);
    }
    try {
      if (process.platform !== 'win32') chmodSync(this.folder, 0o700);
    } catch {
      // A file system that is read-only, or has no modes.
    }
  }

  /**
   * Writes both copies. Both are on the disk before either takes its name: a full disk or a crash leaves the old pair, or the new one,
   * or the new file with the old copy. On a full disk they are overwritten where they lie, the second one first.
   * @param scrub overwrites the blocks of the older files afterwards. That reaches the medium on disks that write in place, and not on
   *   flash memory or file systems that write elsewhere
   */
  async write(name: Pair, content: Uint8Array, { scrub = false } = {}): Promise<void> {
    try {
      await this.replace(name, content, scrub);
    } catch (error) {
      const done = isDiskFull(error) && (await this.writeInPlace(name, content));
      if (!done) throw explainWriteError(error, this.path(name));
    }
  }

  private async replace(name: Pair, content: Uint8Array, scrub: boolean): Promise<void> {
    const paths = this.copies(name);
    const partials = paths.map(partialPath);
    const old: OldFile[] = [];
    try {
      for (const partial of partials) await create(partial, (file) => file.writeFile(content));
      for (const path of scrub ? paths : []) {
        const found = await holdOld(path);
        if (found) old.push(found);
      }
      for (const [i, partial] of partials.entries()) await rename(partial, paths[i]!);
      await syncFolder(this.folder);
    } catch (error) {
      for (const partial of partials) await rm(partial, { force: true }).catch(() => {});
      throw error;
    } finally {
      for (const one of old) await one.end().catch(() => {});
    }
  }

  /** Needs no new room, and can be interrupted: the other copy is whole meanwhile. @returns whether it could be done */
  private async writeInPlace(name: Pair, content: Uint8Array): Promise<boolean> {
    if (!this.isWhole(name)) return false;
    try {
      for (const path of this.copies(name).reverse()) {
        await using file = await openOwn(path, constants.O_RDWR);
        const { size, blocks, nlink } = await file.stat();
        if (nlink > 1 || content.length > Math.max(size, 512 * blocks)) return false;
        await writeAll(file, content, 0);
        await file.truncate(content.length);
        await file.sync();
      }
      return true;
    } catch {
      return false;
    }
  }

  /** Removes both copies, their content overwritten first. */
  async remove(name: Pair): Promise<void> {
    for (const path of this.copies(name)) await shred(path);
    await syncFolder(this.folder);
  }

  /** Removes what a crash within `write` has left: it may hold keys. Call it under the lock. */
  async sweep(): Promise<void> {
    const left = (await readdir(this.folder)).filter((name) => /^\..+\.[0-9a-f]{8}\.partial$/.test(name));
    for (const name of left) await shred(join(this.folder, name));
  }

  /** Removes the keys, then everything but the lock. */
  async destroy(): Promise<void> {
    for (const name of keyFiles) await this.remove(name);
    await this.sweep();
    for (const name of await readdir(this.folder)) {
      const path = join(this.folder, name);
      if (path !== this.lock) await rm(path, { recursive: true, force: true });
    }
    await rm(this.outside, { recursive: true, force: true });
  }

  /** What tells which index was the last one that was written, within the folder or outside; undefined if there is none. */
  readLatest(where: 'latest' | 'outside'): Buffer | undefined {
    return readOwn(this[where], MAX_KEYS);
  }

  /** It is not synced to the disk and may fail: without it an index is only not known to be an older one. */
  async writeLatest(where: 'latest' | 'outside', content: Uint8Array): Promise<void> {
    try {
      await using file = await openOr(this[where]);
      await writeAll(file, content, 0);
      await file.truncate(content.length);
    } catch {
      // As it was, or none.
    }
  }

  /** Takes up disk space, in bytes, or as much as there is; nothing if `least` of them are taken up already. */
  async keepReserve(least: number, bytes: number): Promise<void> {
    let size = sizeOf(this.reserve);
    if (size >= least) return;
    try {
      await using file = await openOr(this.reserve);
      // Random, because some file systems do not store zeros.
      for (; size < bytes; size += RESERVE_PIECE) await writeAll(file, randomBytes(RESERVE_PIECE), size);
    } catch {
      // The disk is full at this time; the next writer tries again.
    }
  }

  /** Gives up a part of the reserve: room for a small file. */
  async shrinkReserve(): Promise<void> {
    const file = await openOwn(this.reserve, constants.O_RDWR).catch(() => undefined);
    if (!file) return;
    const { size, nlink } = await file.stat();
    if (nlink === 1) await file.truncate(Math.max(0, size - 2 * RESERVE_PIECE)).catch(() => {});
    await file.close();
  }

  async giveUpReserve(): Promise<void> {
    await rm(this.reserve, { recursive: true, force: true });
  }
}

/** Bytes that the reserve grows by. */
const RESERVE_PIECE = 8 << 10;

/** Opens a file to overwrite it, or makes it. */
async function openOr(path: string): Promise<FileHandle> {
  const file = await openOwn(path, constants.O_RDWR).catch(() => undefined);
  if (file && (await file.stat()).nlink === 1) return file;
  await file?.close();
  // None, or something that we have not made.
  await rm(path, { recursive: true, force: true });
  return await open(path, 'wx', 0o600);
}

/** A file that is being replaced, to be overwritten once it is. */
interface OldFile {
  end(): Promise<void>;
}

/** Under a second name that `sweep` knows, so that a crash does not leave a key in blocks that nobody finds. */
async function holdOld(path: string): Promise<OldFile | undefined> {
  const second = partialPath(path);
  try {
    await link(path, second);
    return { end: () => shred(second) };
  } catch {
    // No file, or a file system without links: by its handle. Windows does not rename over open files.
    const file =
      process.platform === 'win32' ? undefined : await openOwn(path, constants.O_RDWR).catch(() => undefined);
    return (
      file && {
        async end() {
          // Still under its name if the replacing has failed.
          if ((await file.stat()).nlink === 0) await overwrite(file);
          await file.close();
        },
      }
    );
  }
}

/** A new file for this user only, synced to the disk. */
async function create(path: string, write: (file: FileHandle) => Promise<void>): Promise<void> {
  await using file = await open(path, 'wx', 0o600);
  await write(file);
  await file.sync();
}
