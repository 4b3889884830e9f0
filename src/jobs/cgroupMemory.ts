import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Names of the files of the two versions (cgroups(7), cgroup-v2.rst and memory.rst of the kernel). */
const VERSIONS = {
  // Above `high` the kernel slows a process down until it has given memory back, so it is a limit as well.
  v2: { limits: ['memory.max', 'memory.high'], used: 'memory.current', reclaimable: 'inactive_file' },
  v1: { limits: ['memory.limit_in_bytes'], used: 'memory.usage_in_bytes', reclaimable: 'total_inactive_file' },
};

/**
 * The memory limits of the control groups that this process is in, from its own up to the root of what is visible: a container's
 * limits, or a service's. Bytes; `used` leaves out cached files that the kernel drops first. Groups without limit are left out.
 */
export function cgroupMemory({ proc = '/proc', cgroup = '/sys/fs/cgroup' } = {}): { limit: number; used: number }[] {
  const text = read(join(proc, 'self/cgroup'));
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
 * From a group up to the root. Groups that are not there are passed over: within a container the path may be the host's, and the
 * container's own group is then mounted as the root.
 */
function walk(root: string, path: string, names: (typeof VERSIONS)['v2']): { limit: number; used: number }[] {
  const found: { limit: number; used: number }[] = [];
  // A path that leads out of what is mounted ("/../..") is the root for this process; join() stops there.
  for (let group = join('/', path); ; group = dirname(group)) {
    const folder = join(root, group);
    const used = number(read(join(folder, names.used)));
    // "max", or on version 1 a number close to 2^63, stands for none: the first is no number, the second above any machine's memory.
    const limits = names.limits.map((name) => number(read(join(folder, name)))).filter((limit) => limit !== undefined);
    if (used !== undefined && limits.length > 0) {
      const stat = read(join(folder, 'memory.stat')) ?? '';
      const reclaimable = number(new RegExp(`^${names.reclaimable} (\\d+)$`, 'm').exec(stat)?.[1]) ?? 0;
      found.push({ limit: Math.min(...limits), used: Math.max(0, used - reclaimable) });
    }
    if (group === '/' || group === dirname(group)) return found;
  }
}

function number(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+\s*$/.test(text) ? Number(text) : undefined;
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}
