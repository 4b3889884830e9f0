import { readFileSync } from 'node:fs';
import { freemem, totalmem } from 'node:os';
import { cgroupMemory } from './cgroupMemory.js';
import { peakRss } from './peakRss.js';

/** Bytes. */
export interface Memory {
  /** What the machine has, or the container if that is less. */
  total: number;
  /** What this process may still take without pushing anything out that is in use. */
  available: number;
  /** What is resident of this process, mapped files included. */
  rss: number;
  /** The most that was. */
  peakRss: number;
}

/**
 * Memory as it is now. Linux and Android: the kernel's estimate (MemAvailable, proc(5)), bounded by the control groups of a
 * container. Elsewhere what the system calls free, which leaves out caches it would give up: an estimate on the low side.
 *
 * Reads a few files of the kernel, synchronously: no disk is involved.
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
  let text: string;
  try {
    text = readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
  const field = (name: string) => {
    const match = new RegExp(`^${name}:\\s*(\\d+) kB$`, 'm').exec(text);
    return match ? 1024 * Number(match[1]) : undefined;
  };
  const [total, available] = [field('MemTotal'), field('MemAvailable')];
  return total === undefined || available === undefined ? undefined : { total, available };
}
