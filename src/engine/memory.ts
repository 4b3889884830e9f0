import { randomBytes } from 'node:crypto';
import { close, fstatSync } from 'node:fs';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { LoamError } from '../base/errors.js';
import { writeAll } from '../base/io.js';
import { temporaryFolder } from '../base/unfinished.js';
import { callAsync, fn, int, Library, long, pointer, size, string, systemFunction, u32 } from './ffi.js';

/** Memory as the operating system has it: files mapped into it, files that lie in it only, and what is given back. */

/** What `make` gives, made at the first call. */
function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

/** A file mapped read-only into memory: pages are read from disk when first touched and can be dropped by the system again. */
export interface MappedFile extends Disposable {
  address: bigint;
  size: number;
  /** Tells the system that this range won't be needed soon; its pages leave the resident set. */
  release(offset: number, length: number): void;
  /** Tells it that few places of this range will be read: each by itself, nothing around it ahead of time. */
  scatter(offset: number, length: number): void;
}

/** Values of sys/mman.h, the same on Linux, Android and macOS. */
const PROT_READ = 1;
const MAP_SHARED = 1;
const MADV_RANDOM = 1;
const MADV_DONTNEED = 4;
/** Ranges are rounded to this multiple of every system's pages; larger pages only make the rounded range smaller than it could be. */
export const mapUnit = 65536;

const posix = once(() =>
  new Library(null).functions({
    mmap: fn('mmap', pointer, [pointer, size, int, int, int, long]),
    munmap: fn('munmap', int, [pointer, size]),
    madvise: fn('madvise', int, [pointer, size, int]),
  }),
);

/** Whether files can be mapped: where the platform has no POSIX mmap (Windows) they are read instead. */
export const canMap = process.platform !== 'win32';

/**
 * Maps a file; undefined where that can't be done (`canMap`). The file must not be truncated while it is mapped: the system would end
 * the process.
 */
export async function mapFile(path: string): Promise<MappedFile | undefined> {
  if (!canMap) return undefined;
  await using file = await open(path, 'r');
  return await mapPart(file, path, 0, (await file.stat()).size);
}

/** Maps `size` bytes of an open file from `offset` on, a multiple of `mapUnit`. */
export async function mapPart({ fd }: FileHandle, path: string, offset: number, size: number): Promise<MappedFile> {
  const { mmap, munmap, madvise } = posix();
  const address = await callAsync(mmap, null, size, PROT_READ, MAP_SHARED, fd, offset);
  if (address === null || BigInt.asIntN(64, address) === -1n) {
    throw new LoamError({ code: 'out-of-memory', found: 'the file cannot be mapped into memory', where: path });
  }
  let mapped = true;
  const advise = (offset: number, length: number, advice: number) => {
    const from = Math.ceil(offset / mapUnit) * mapUnit;
    // What lies behind the end is nobody's.
    const to = offset + length === size ? size : Math.floor((offset + length) / mapUnit) * mapUnit;
    if (mapped && to > from) madvise(address + BigInt(from), to - from, advice);
  };
  return {
    address,
    size,
    release: (offset, length) => advise(offset, length, MADV_DONTNEED),
    scatter: (offset, length) => advise(offset, length, MADV_RANDOM),
    [Symbol.dispose]() {
      if (mapped) munmap(address, size);
      mapped = false;
    },
  };
}

/** A file that is meant to be read by its path and not to be kept: gone when disposed of. */
export interface MemoryFile extends AsyncDisposable {
  path: string;
  /** Whether its content is in memory only; elsewhere it is in a file that only this user can read. */
  anonymous: boolean;
}

/** linux/memfd.h: the descriptor is not handed on to child processes. */
const MFD_CLOEXEC = 1;

/** memfd_create(2): Linux with glibc 2.27 or musl, Android from 11 on (bionic, API level 30). */
const memfdCreate = once(() => systemFunction(fn('memfd_create', int, [string, u32])));

const closeAsync = promisify(close);

/**
 * Makes bytes readable under a path without writing them to a disk: an anonymous file in memory, reached through /proc. Where the
 * system has none, a file for this user only in a folder of its own, in the folder for temporary files; dispose of it as soon as it
 * has been read. Memory may be written to swap space by the system.
 */
export async function memoryFile(bytes: Uint8Array): Promise<MemoryFile> {
  return (await inMemory(bytes)) ?? (await onDisk(bytes));
}

async function inMemory(bytes: Uint8Array): Promise<MemoryFile | undefined> {
  const fd = memfdCreate()?.('loam', MFD_CLOEXEC) ?? -1;
  if (fd < 0) return undefined;
  const path = `/proc/self/fd/${fd}`;
  try {
    await using file = await open(path, 'r+');
    // Without /proc the path leads nowhere.
    if ((await file.stat()).ino !== fstatSync(fd).ino) throw new Error('another file');
    await writeAll(file, bytes);
  } catch {
    await closeAsync(fd);
    return undefined;
  }
  let closed = false;
  return {
    path,
    anonymous: true,
    async [Symbol.asyncDispose]() {
      if (!closed) await closeAsync(fd);
      closed = true;
    },
  };
}

async function onDisk(bytes: Uint8Array): Promise<MemoryFile> {
  const folder = await temporaryFolder(tmpdir());
  const path = join(folder, `${randomBytes(8).toString('hex')}.gguf`);
  const dispose = () => rm(folder, { recursive: true, force: true });
  try {
    await using file = await open(path, 'wx', 0o600);
    await writeAll(file, bytes);
  } catch (error) {
    await dispose();
    throw error;
  }
  return { path, anonymous: false, [Symbol.asyncDispose]: dispose };
}

/** malloc.h of glibc. */
const M_MMAP_THRESHOLD = -3;
const largeBlock = 1 << 20;

/**
 * Has the C library map every large block by itself, so that it goes back to the system when it is freed. By itself glibc takes larger
 * and larger blocks from its heap instead, which then has holes of tens of megabytes. Other libraries need no telling.
 */
export const returnLargeBlocks = once(() => {
  systemFunction(fn('mallopt', int, [int, int]))?.(M_MMAP_THRESHOLD, largeBlock);
});

/** Of glibc; Android's library, musl, macOS and Windows have none. */
const mallocTrim = once(() => systemFunction(fn('malloc_trim', int, [size])));

/**
 * Gives memory that nobody uses any more back to the system, before a step that needs much of its own: arrays that JavaScript has not
 * collected yet, and what the C library keeps of freed blocks. Takes some tens of milliseconds.
 */
export function releaseMemory(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as (how?: object) => void;
  collect();
  // Gives back the heap's own empty pages too.
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  mallocTrim()?.(0);
}
