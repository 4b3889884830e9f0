import { createCipheriv, randomBytes } from 'node:crypto';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, isAbsolute, relative } from 'node:path';
import { LoamError } from './errors.js';
import { explainWriteError, fileSystemOf, makeFolder, readFully, writeAll } from './io.js';
import { loamHome } from './process.js';
import { sweepOnce, temporaryPath } from './unfinished.js';

/** Magic numbers of file systems that are memory (statfs(2)): tmpfs, ramfs. */
const MEMORY = new Set([0x01021994, 0x858458f6]);

/** Whether what is written in a folder takes memory. False where the system does not say. */
export async function liesInMemory(folder: string): Promise<boolean> {
  const found = await fileSystemOf(folder);
  return found !== undefined && MEMORY.has(found.type >>> 0);
}

/** What a person can do about a folder that has no room: it is where the system, LOAM_HOME or --out says. */
export function otherFolder(folder: string): string {
  const isBelow = (root: string) => !relative(root, folder).startsWith('..') && !isAbsolute(relative(root, folder));
  const how = isBelow(loamHome()) ? 'set LOAM_HOME' : isBelow(tmpdir()) ? 'set TMPDIR' : 'choose another --out';
  return `free some space there, or ${how} to use another disk`;
}

/**
 * A temporary file that has no name: deleted while it is open, so that nothing of it is left whatever happens. Windows can't delete an
 * open file: there it has a name until it is closed, and a crash leaves it behind for the next process to remove.
 */
export class Unnamed implements AsyncDisposable {
  constructor(
    readonly handle: FileHandle,
    /** Where it is, or was until its name was taken away. */
    readonly path: string,
    private readonly named: boolean,
  ) {}

  /** @throws LoamError when the disk is full */
  async write(work: (file: FileHandle) => Promise<void>): Promise<void> {
    try {
      await work(this.handle);
    } catch (error) {
      throw explain(error, dirname(this.path));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.handle.close();
    if (this.named) await rm(this.path, { force: true });
  }
}

/** @param folder made if it is not there @throws LoamError if it takes none */
export async function openUnnamed(folder: string): Promise<Unnamed> {
  const path = temporaryPath(folder);
  try {
    await makeFolder(folder, 0o700);
    await sweepOnce(folder);
    const file = await open(path, 'wx+', 0o600);
    const named = await rm(path).then(
      () => false,
      () => true,
    );
    return new Unnamed(file, path, named);
  } catch (error) {
    throw explain(error, folder);
  }
}

/**
 * Blocks of bytes that do not fit into memory, in a temporary file that is encrypted with a key that only this object has, so that
 * nothing of the user's can be read from the disk.
 */
export class SpillFile implements AsyncDisposable {
  private readonly key = randomBytes(32);
  /** How often each block was written. */
  private readonly written = new Map<number, number>();
  private readonly offsets: number[] = [];

  private constructor(
    private readonly file: Unnamed,
    private readonly sizes: readonly number[],
  ) {
    let at = 0;
    for (const size of sizes) {
      this.offsets.push(at);
      at += size;
    }
  }

  /** A file for blocks of these sizes in bytes. Throws LoamError if the folder takes none. */
  static async create(sizes: readonly number[], folder: string): Promise<SpillFile> {
    return new SpillFile(await openUnnamed(folder), sizes);
  }

  /** Writes a whole block, any number of times. Throws LoamError when the disk is full. */
  async write(block: number, values: ArrayBufferView): Promise<void> {
    const bytes = this.sized(block, values);
    const times = (this.written.get(block) ?? 0) + 1;
    this.written.set(block, times);
    await this.file.write((file) => writeAll(file, this.encrypted(block, times, bytes), this.offsets[block]!));
  }

  /** Fills `values` with the block as it was last written. */
  async read(block: number, values: ArrayBufferView): Promise<void> {
    const bytes = this.sized(block, values);
    const times = this.written.get(block);
    const read = times === undefined ? 0 : await readFully(this.file.handle, bytes, this.offsets[block]!);
    if (times === undefined || read < bytes.length) throw new Error(`block ${block} was read before it was written`);
    bytes.set(this.encrypted(block, times, bytes));
  }

  private sized(block: number, values: ArrayBufferView): Uint8Array {
    const { buffer, byteOffset, byteLength } = values;
    if (byteLength !== this.sizes[block]) throw new RangeError(`${byteLength} bytes for block ${block}`);
    return new Uint8Array(buffer, byteOffset, byteLength);
  }

  /**
   * AES-256-CTR, which decrypts too. Each writing of a block has a keystream of its own: the number of the block and how often it was
   * written begin the counter.
   */
  private encrypted(block: number, times: number, bytes: Uint8Array): Buffer {
    const counter = Buffer.alloc(16);
    counter.writeUInt32BE(block, 0);
    counter.writeUInt32BE(times, 4);
    return createCipheriv('aes-256-ctr', this.key, counter).update(bytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.file[Symbol.asyncDispose]();
  }
}

/** The file has no name that anybody could look at: what is told is its folder. */
function explain(error: unknown, folder: string): unknown {
  const known = explainWriteError(error, folder);
  if (!(known instanceof LoamError)) return known;
  const found =
    known.code === 'disk-full'
      ? 'the disk is full, and what a run works with must lie there for now'
      : known.fault.found;
  return new LoamError({ ...known.fault, found, fix: otherFolder(folder) }, { cause: error });
}
