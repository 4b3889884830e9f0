import { execFileSync } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { systemCode } from './errors.js';
import { listKernelFolder, readKernelFile } from './kernelFiles.js';

/** Processes beyond this one: which they are, so that nothing else can be taken for them, and whether they live. */

export interface Life {
  pid: number;
  host: string;
  /** Which start of the system it belongs to; null where that cannot be asked. */
  boot: string | null;
  /** Which set of process numbers: a container has its own. */
  space: string | null;
  /** When it began, in the system's own words: a later process may have the same number. */
  birth: string | null;
}

/** Reads something of this system once. */
function once<T>(read: () => T): () => T {
  let known: { value: T } | undefined;
  return () => {
    known ??= { value: read() };
    return known.value;
  };
}

/** The answer of one of the system's own programs, which gets nothing of our environment. */
function ask(program: string, ...args: string[]): string | null {
  try {
    const text = execFileSync(program, args, {
      encoding: 'utf8',
      env: { LC_ALL: 'C', TZ: 'UTC' },
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 5_000,
    });
    return text.trim() || null;
  } catch {
    return null;
  }
}

const isMac = process.platform === 'darwin';

const boot = once(() =>
  isMac
    ? ask('/usr/sbin/sysctl', '-n', 'kern.bootsessionuuid')
    : (readKernelFile('/proc/sys/kernel/random/boot_id') ?? null),
);

const space = once(() => {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    return null;
  }
});

/**
 * When a process began; null if there is none, or it cannot be asked. Linux: field 22 of /proc/PID/stat (proc(5)), in ticks since boot;
 * one that has ended (state Z) and whose parent has not collected its exit code is gone: a container's first process may never do so.
 */
function birthOf(pid: number): string | null {
  if (isMac) return ask('/bin/ps', '-o', 'lstart=', '-p', String(pid));
  const text = readKernelFile('/proc', String(pid), 'stat');
  // The command name, field 2, is in brackets and may hold spaces.
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ') ?? [];
  const hasEnded = fields[0] === 'Z' || fields[0] === 'X';
  // The first thread may have ended before another that is just writing a file.
  if (hasEnded && listKernelFolder(`/proc/${pid}/task`).length <= 1) return null;
  return fields[19] ?? null;
}

/** This process. */
export const ownLife: () => Life = once(() => ({
  pid: process.pid,
  host: hostname(),
  boot: boot(),
  space: space(),
  birth: birthOf(process.pid),
}));

/**
 * Whether a process lives. 'unknown' if it is out of reach: of another machine or container, or of an earlier start of this one. The
 * name of the host may change, and decides only where nothing better is known.
 */
export function lifeOf({ pid, host, boot, space, birth }: Life): 'alive' | 'dead' | 'unknown' {
  const here = ownLife();
  const isHere = boot !== null && here.boot !== null ? boot === here.boot && space === here.space : host === here.host;
  if (!isHere) return 'unknown';
  if (pid <= 0) return 'dead';
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (systemCode(error) === 'ESRCH') return 'dead';
  }
  return birth === null || birthOf(pid) === birth ? 'alive' : 'dead';
}
