import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemCode } from './errors.js';
import { explainWriteError } from './io.js';
import { readKernelFile } from './kernelFiles.js';

/** Locks between processes, by a file that names its holder, and within this one. */

interface Holder {
  pid: number;
  host: string;
  /** When the process began, in the kernel's own count: a later process may have the same number. */
  birth: string | null;
  nonce: string;
}

/** Writing takes a moment: what is still unfinished after this long was left by a crash. */
const CRASHED_MS = 5000;

/**
 * Field 22 of /proc/PID/stat (proc(5)): start time in ticks since boot. Null if there is no /proc, no such process, or one that
 * has ended (state Z) and whose parent has not collected its exit code: a container's first process may never do so.
 */
function birthOf(pid: number): string | null {
  const text = readKernelFile('/proc', String(pid), 'stat');
  // The command name, field 2, is in brackets and may hold spaces.
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ') ?? [];
  return fields[0] === 'Z' || fields[0] === 'X' ? null : (fields[19] ?? null);
}

function isAlive(holder: Holder): boolean {
  // Another machine's processes are out of reach (a shared folder): its lock counts until somebody removes it.
  if (holder.host !== hostname()) return true;
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    if (systemCode(error) === 'ESRCH') return false;
  }
  return holder.birth === null || birthOf(holder.pid) === holder.birth;
}

/** The holder named in a lock file; null when it is gone, 'unreadable' when it says nothing. */
async function readHolder(path: string): Promise<Holder | 'unreadable' | null> {
  try {
    const value: unknown = JSON.parse(await readFile(path, 'utf8'));
    const { pid, host, birth, nonce } = value as Partial<Holder>;
    if (typeof pid === 'number' && typeof host === 'string' && typeof nonce === 'string') {
      return { pid, host, nonce, birth: typeof birth === 'string' ? birth : null };
    }
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null;
  }
  return 'unreadable';
}

/** Milliseconds since a file was written; 0 when it has gone. */
async function ageOf(path: string): Promise<number> {
  return await stat(path).then(
    (s) => Date.now() - s.mtimeMs,
    () => 0,
  );
}

async function isStale(path: string, holder: Holder | 'unreadable'): Promise<boolean> {
  return holder === 'unreadable' ? (await ageOf(path)) > CRASHED_MS : !isAlive(holder);
}

/**
 * Removes a dead process's lock, one process at a time: otherwise two that both saw it dead would each remove a lock, and the second would
 * remove the first one's new lock.
 */
async function clear(path: string): Promise<void> {
  const guard = `${path}.clearing`;
  try {
    await (await open(guard, 'wx', 0o600)).close();
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw explainWriteError(error, guard);
    // Another process is clearing, or crashed while it was.
    if ((await ageOf(guard)) > CRASHED_MS) await rm(guard, { force: true });
    await sleep(5);
    return;
  }
  try {
    const holder = await readHolder(path);
    if (holder !== null && (await isStale(path, holder))) await rm(path, { force: true });
  } finally {
    await rm(guard, { force: true });
  }
}

export type Lock = { release: () => Promise<void> } | { heldBy: number };

/**
 * Takes the lock file `path`, or says which live process holds it (0: one that has not written its number yet). A lock left
 * by a dead process is replaced. Throws LoamError when the file cannot be written.
 */
export async function tryLock(path: string): Promise<Lock> {
  const mine: Holder = {
    pid: process.pid,
    host: hostname(),
    birth: birthOf(process.pid),
    nonce: randomBytes(16).toString('hex'),
  };
  for (;;) {
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      const file = await open(path, 'wx', 0o600);
      try {
        await file.writeFile(JSON.stringify(mine));
      } catch (error) {
        // A full disk: a lock that names nobody would hold others up.
        await rm(path, { force: true });
        throw error;
      } finally {
        await file.close();
      }
      const release = async () => {
        const holder = await readHolder(path);
        if (typeof holder === 'object' && holder?.nonce === mine.nonce) await rm(path, { force: true });
      };
      return { release };
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw explainWriteError(error, path);
    }
    const holder = await readHolder(path);
    if (holder === null) continue;
    if (!(await isStale(path, holder))) return { heldBy: holder === 'unreadable' ? 0 : holder.pid };
    await clear(path);
  }
}

/** One asynchronous holder at a time, in order of asking. */
export class Mutex {
  private tail: Promise<void> = Promise.resolve();

  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.tail.then(work);
    this.tail = result.then(
      () => {},
      () => {},
    );
    return result;
  }
}
