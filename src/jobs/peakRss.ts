import { readFileSync } from 'node:fs';

/**
 * The most resident memory that this process has had so far, in bytes. On Linux from VmHWM (proc(5)): what getrusage(2) tells there
 * outlives execve, so a small process that a large one started would report the large one's.
 */
export function peakRss(proc = '/proc'): number {
  try {
    const match = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync(`${proc}/self/status`, 'latin1'));
    if (match) return 1024 * Number(match[1]);
  } catch {
    // No /proc: another system, or an Android that hides it.
  }
  // Kilobytes on every system since libuv 1.45; Node 20 has a later one.
  return 1024 * process.resourceUsage().maxRSS;
}
