import { freemem, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { readKernelFile, readKernelNumber, wholeNumber } from './kernelFiles.js';

/** Memory that this machine, container and process have. */

/** Names of the files of the two versions (cgroups(7), cgroup-v2.rst and memory.rst of the kernel). */
const VERSIONS = {
  // Above `high` the kernel slows a process down until it has given memory back, so it is a limit as well.
  v2: { limits: ['memory.max', 'memory.high'], used: 'memory.current', reclaimable: 'inactive_file' },
  v1: { limits: ['memory.limit_in_bytes'], used: 'memory.usage_in_bytes', reclaimable: 'total_inactive_file' },
};

/**
 * The memory limits of the control groups that this process is in, from its own up to the root of what is visible: a container's
 * limits, or a service's. Bytes; `used` leaves out cached files, which the kernel drops first. Groups without a limit are left out.
 */
function cgroupMemory({ proc = '/proc', cgroup = '/sys/fs/cgroup' } = {}): { limit: number; used: number }[] {
  const text = readKernelFile(proc, 'self/cgroup');
  if (text === undefined) return [];
  const found: { limit: number; used: number }[] = [];
  for (const line of text.split('\n')) {
    // "4:memory:/path" (version 1) or "0::/path" (version 2).
    const match = /^(\d+):([^:]*):(\/.*)$/.exec(line);
    if (!match) continue;
    const controllers = match[2]!.split(',');
    if (match[1] === '0') found.push(...walk(cgroup, match[3]!, VERSIONS.v2));
    else if (controllers.includes('memory')) found.push(...walk(join(cgroup, 'memory'), match[3]!, VERSIONS.v1));
  }
  return found;
}

/**
 * From a group up to the root. Groups that are not there are skipped: within a container the path may be the host's, with the container's
 * own group mounted as the root.
 */
function walk(root: string, path: string, names: (typeof VERSIONS)['v2']): { limit: number; used: number }[] {
  const found: { limit: number; used: number }[] = [];
  // A path that leads out of what is mounted ("/../..") is the root for this process; join() stops there.
  for (let group = join('/', path); ; group = dirname(group)) {
    const folder = join(root, group);
    const used = readKernelNumber(folder, names.used);
    // "max", or on version 1 a number close to 2^63, stands for none: the first is no number, the second above any machine's memory.
    const limits = names.limits.flatMap((name) => readKernelNumber(folder, name) ?? []);
    if (used !== undefined && limits.length > 0) {
      const stat = readKernelFile(folder, 'memory.stat') ?? '';
      const reclaimable = wholeNumber(new RegExp(`^${names.reclaimable} (\\d+)$`, 'm').exec(stat)?.[1]) ?? 0;
      found.push({ limit: Math.min(...limits), used: Math.max(0, used - reclaimable) });
    }
    if (group === '/' || group === dirname(group)) return found;
  }
}

/**
 * The most resident memory that this process has had so far, in bytes. On Linux from VmHWM (proc(5)): what getrusage(2) reports there
 * outlives execve, so a small process started by a large one would report the large one's.
 */
export function peakRss(proc = '/proc'): number {
  const match = /^VmHWM:\s*(\d+) kB$/m.exec(readKernelFile(proc, 'self/status') ?? '');
  if (match) return 1024 * Number(match[1]);
  // Kilobytes on every system since libuv 1.45; Node 20 has a later one.
  return 1024 * process.resourceUsage().maxRSS;
}

/** Bytes. */
export interface Memory {
  /** What the machine has, or the container if that is less. */
  total: number;
  /** What this process may still take without pushing out anything in use. */
  available: number;
  /** What of this process is resident, mapped files included. */
  rss: number;
  /** The most that has been. */
  peakRss: number;
}

/**
 * Memory as it is now. Linux and Android: the kernel's estimate (MemAvailable, proc(5)), bounded by the control groups of a
 * container. Elsewhere what the system calls free, which leaves out caches it would give up: an estimate on the low side.
 */
export function readMemory({ proc = '/proc', cgroup = '/sys/fs/cgroup' } = {}): Memory {
  const machine = readMeminfo(`${proc}/meminfo`) ?? { total: totalmem(), available: freemem() };
  const limits = cgroupMemory({ proc, cgroup });
  return {
    total: Math.min(machine.total, ...limits.map(({ limit }) => limit)),
    available: Math.max(0, Math.min(machine.available, ...limits.map(({ limit, used }) => limit - used))),
    rss: process.memoryUsage.rss(),
    peakRss: peakRss(proc),
  };
}

function readMeminfo(path: string): { total: number; available: number } | undefined {
  const text = readKernelFile(path) ?? '';
  const field = (name: string) => {
    const match = new RegExp(`^${name}:\\s*(\\d+) kB$`, 'm').exec(text);
    return match ? 1024 * Number(match[1]) : undefined;
  };
  const [total, available] = [field('MemTotal'), field('MemAvailable')];
  return total === undefined || available === undefined ? undefined : { total, available };
}
