import { randomBytes } from 'node:crypto';
import { close, fstatSync, write } from 'node:fs';
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type NativeFunction, systemLibrary } from './native.js';

/** A file that is meant to be read by its path and not to be kept: gone when disposed of. */
export interface MemoryFile extends AsyncDisposable {
  path: string;
  /** Whether its content is in memory only; elsewhere it is in a file that only this user can read. */
  anonymous: boolean;
}

type MemfdCreate = NativeFunction<(name: string, flags: number) => number>;
/** linux/memfd.h: the descriptor is not handed on to child processes. */
const MFD_CLOEXEC = 1;

let declared: MemfdCreate | null | undefined;

/** memfd_create(2): Linux with glibc 2.27 or musl, Android from 11 on (bionic, API level 30). Null where there is none. */
function memfdCreate(): MemfdCreate | null {
  if (declared === undefined) {
    declared = null;
    if (process.platform === 'linux' || process.platform === 'android') {
      try {
        declared = systemLibrary(null)<(name: string, flags: number) => number>('int memfd_create(str, uint)');
      } catch {
        // An older C library: as elsewhere.
      }
    }
  }
  return declared;
}

const writeAsync = promisify(write);
const closeAsync = promisify(close);

async function writeAll(fd: number, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await writeAsync(fd, bytes, done, Math.min(1 << 26, bytes.length - done), done)).bytesWritten;
  }
}

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
    await writeAll(fd, bytes);
    // Without /proc the path leads nowhere.
    const handle = await open(path, 'r');
    const same = (await handle.stat()).ino === fstatSync(fd).ino;
    await handle.close();
    if (!same) throw new Error('another file');
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
  const folder = await mkdtemp(join(tmpdir(), 'loam-'));
  const path = join(folder, `${randomBytes(8).toString('hex')}.gguf`);
  const dispose = () => rm(folder, { recursive: true, force: true });
  let file: FileHandle | undefined;
  try {
    file = await open(path, 'wx', 0o600);
    await writeAll(file.fd, bytes);
    await file.close();
  } catch (error) {
    await file?.close().catch(() => {});
    await dispose();
    throw error;
  }
  return { path, anonymous: false, [Symbol.asyncDispose]: dispose };
}
