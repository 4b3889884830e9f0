import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { explainWriteError, partialPath, syncFolder, writeAll } from '../base/io.js';

/** Small files that are there twice, so that damage to one copy loses nothing; see docs/vault.md for what they hold. */
const pairs = ['key', 'key.age', 'index.key', 'index.sqlite'] as const;
export type Pair = (typeof pairs)[number];

/** Without these nothing of the rest can be read; in the order in which they are destroyed. */
const keyFiles = ['key', 'key.age', 'index.key'] as const satisfies readonly Pair[];

/** Largest file read: an index of tens of thousands of entries has some megabytes. */
const MAX_BYTES = 256 << 20;

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
  readonly blobs: string;
  private readonly reserve: string;

  constructor(readonly folder: string) {
    this.lock = join(folder, 'lock');
    this.blobs = join(folder, 'blobs');
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
    return this.copies(name).some((path) => existsSync(path));
  }

  /** Both copies, the first one first; without those that are not there, cannot be read, or are the same. */
  read(name: Pair): Buffer[] {
    const found = this.copies(name).flatMap((path) => readSmall(path) ?? []);
    return found.length === 2 && found[0]!.equals(found[1]!) ? found.slice(0, 1) : found;
  }

  /** Whether both copies are there and alike. */
  isWhole(name: Pair): boolean {
    const [first, second] = this.copies(name).map(readSmall);
    return first !== undefined && second !== undefined && first.equals(second);
  }

  /** Changes whenever a pair is written. */
  signature(name: Pair): string {
    const of = (path: string) => {
      const found = statSync(path, { bigint: true, throwIfNoEntry: false });
      return found ? `${found.ino} ${found.size} ${found.mtimeNs}` : 'none';
    };
    return this.copies(name).map(of).join(', ');
  }

  /** Bytes of everything but blobs. */
  controlBytes(): number {
    return [this.reserve, ...pairs.flatMap((name) => this.copies(name))].reduce((sum, path) => sum + sizeOf(path), 0);
  }

  /** Makes the folders, for this user only. */
  async make(): Promise<void> {
    try {
      await mkdir(this.blobs, { recursive: true, mode: 0o700 });
      if (process.platform !== 'win32') chmodSync(this.folder, 0o700);
    } catch (error) {
      throw explainWriteError(error, this.folder);
    }
  }

  /**
   * Writes both copies. Both are on the disk before either takes its name: a full disk or a crash leaves the old pair, or the new one,
   * or the new file with the old copy.
   * @param scrub overwrites the blocks of the older files afterwards. That reaches the medium on disks that write in place, and not on
   *   flash memory or file systems that write elsewhere
   */
  async write(name: Pair, content: Uint8Array, { scrub = false } = {}): Promise<void> {
    const paths = this.copies(name);
    const partials = paths.map(partialPath);
    const old: FileHandle[] = [];
    try {
      for (const partial of partials) await create(partial, (file) => file.writeFile(content));
      // Windows does not rename over open files.
      if (scrub && process.platform !== 'win32') {
        for (const path of paths) {
          const file = await open(path, 'r+').catch(() => undefined);
          if (file) old.push(file);
        }
      }
      for (const [i, partial] of partials.entries()) await rename(partial, paths[i]!);
      await syncFolder(this.folder);
      for (const file of old) await overwrite(file);
    } catch (error) {
      for (const partial of partials) await rm(partial, { force: true }).catch(() => {});
      throw explainWriteError(error, this.path(name));
    } finally {
      for (const file of old) await file.close().catch(() => {});
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
  }

  /** Takes up disk space, in bytes; nothing if `least` of them are taken up already. */
  async keepReserve(least: number, bytes: number): Promise<void> {
    const { size } = await stat(this.reserve).catch(() => ({ size: 0 }));
    if (size >= least) return;
    try {
      // Random, because some file systems do not store zeros.
      await writeFile(this.reserve, randomBytes(bytes), { mode: 0o600 });
    } catch {
      // The disk is full at this time; the next writer tries again.
      await this.giveUpReserve();
    }
  }

  async giveUpReserve(): Promise<void> {
    await rm(this.reserve, { force: true });
  }

  /** @param name 32 hex digits */
  blob(name: string): string {
    return join(this.blobs, name);
  }

  /** Until `publishBlob` a blob lies under a name that says which process writes it. */
  private partialBlob(name: string): string {
    return join(this.blobs, `.${process.pid}-${name}.partial`);
  }

  /** Writes a new blob, synced to the disk, without giving it its name yet. */
  async createBlob(name: string, pieces: () => Promise<AsyncIterable<Uint8Array>>): Promise<void> {
    const partial = this.partialBlob(name);
    try {
      await mkdir(this.blobs, { recursive: true, mode: 0o700 });
      await create(partial, async (file) => {
        for await (const piece of await pieces()) await writeAll(file, piece);
      });
    } catch (error) {
      await rm(partial, { force: true }).catch(() => {});
      throw explainWriteError(error, this.blobs);
    }
  }

  async publishBlob(name: string): Promise<void> {
    await rename(this.partialBlob(name), this.blob(name));
    await syncFolder(this.blobs);
  }

  /** Removes what `createBlob` has made, published or not. */
  async discardBlob(name: string): Promise<void> {
    await rm(this.partialBlob(name), { force: true }).catch(() => {});
    await rm(this.blob(name), { force: true }).catch(() => {});
  }

  /** A file that cannot be removed is noise, and the next sweep tries again. */
  async removeBlobs(names: readonly string[]): Promise<void> {
    for (const name of names) await rm(this.blob(name), { force: true }).catch(() => {});
    await syncFolder(this.blobs);
  }

  /** What lies among the blobs: one by its name, an unfinished one by its writer's process id, or neither. */
  async listBlobs(): Promise<{ file: string; blob?: string; writer?: number }[]> {
    const files = await readdir(this.blobs).catch(() => []);
    return files.map((file) => {
      const writer = /^\.(\d+)-[0-9a-f]{32}\.partial$/.exec(file)?.[1];
      if (writer !== undefined) return { file, writer: Number(writer) };
      return /^[0-9a-f]{32}$/.test(file) ? { file, blob: file } : { file };
    });
  }

  /** Bytes on the disk; 0 for one that is gone. */
  blobBytes(name: string): number {
    return sizeOf(this.blob(name));
  }

  /** Bytes of all files among the blobs, those that no entry names included. */
  allBlobBytes(): number {
    if (!existsSync(this.blobs)) return 0;
    return readdirSync(this.blobs).reduce((sum, name) => sum + this.blobBytes(name), 0);
  }
}

/** A new file for this user only, synced to the disk. */
async function create(path: string, write: (file: FileHandle) => Promise<void>): Promise<void> {
  await using file = await open(path, 'wx', 0o600);
  await write(file);
  await file.sync();
}

async function shred(path: string): Promise<void> {
  const file = await open(path, 'r+').catch(() => undefined);
  if (file) {
    await overwrite(file);
    await file.close();
  }
  await rm(path, { force: true });
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

function readSmall(path: string): Buffer | undefined {
  try {
    const content = readFileSync(path);
    return content.length > MAX_BYTES ? undefined : content;
  } catch {
    return undefined;
  }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
