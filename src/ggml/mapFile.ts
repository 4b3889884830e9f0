import { open } from 'node:fs/promises';
import { LoamError } from '../util/errors.js';
import { callAsync, type NativeFunction, systemLibrary } from './native.js';

/** A file mapped read-only into memory: pages are read from disk when first touched and can be dropped by the system again. */
export interface MappedFile extends Disposable {
  address: bigint;
  size: number;
  /** Tells the system that this range won't be needed soon; its pages leave the resident set. */
  release(offset: number, length: number): void;
}

/** Values of sys/mman.h, the same on Linux, Android and macOS. */
const PROT_READ = 1;
const MAP_PRIVATE = 2;
const MADV_DONTNEED = 4;
/** Smallest page that madvise ranges are rounded to; larger pages only make the rounded range smaller than it could be. */
const pageSize = 65536;

interface Posix {
  mmap: NativeFunction<(a: null, n: number, prot: number, flags: number, fd: number, offset: number) => bigint>;
  munmap: NativeFunction<(a: bigint, n: number) => number>;
  madvise: NativeFunction<(a: bigint, n: number, advice: number) => number>;
}
let posix: Posix | undefined;

function posixFunctions(): Posix {
  if (!posix) {
    const declare = systemLibrary(null);
    posix = {
      mmap: declare('void* mmap(void*, size_t, int, int, int, long)'),
      munmap: declare('int munmap(void*, size_t)'),
      madvise: declare('int madvise(void*, size_t, int)'),
    };
  }
  return posix;
}

/**
 * Maps a file. Where the platform has no POSIX mmap (Windows) `undefined` is returned and the caller reads the file instead.
 * The file must not be truncated while it is mapped: the system would end the process.
 */
export async function mapFile(path: string): Promise<MappedFile | undefined> {
  if (process.platform === 'win32') return undefined;
  const { mmap, munmap, madvise } = posixFunctions();
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const address = await callAsync(mmap, null, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
    if (address === null || BigInt.asIntN(64, address) === -1n) {
      throw new LoamError({ found: 'the file cannot be mapped into memory', where: path });
    }
    let mapped = true;
    return {
      address,
      size,
      release(offset, length) {
        const from = Math.ceil(offset / pageSize) * pageSize;
        const to = Math.floor((offset + length) / pageSize) * pageSize;
        if (mapped && to > from) madvise(address + BigInt(from), to - from, MADV_DONTNEED);
      },
      [Symbol.dispose]() {
        if (mapped) munmap(address, size);
        mapped = false;
      },
    };
  } finally {
    await file.close();
  }
}
