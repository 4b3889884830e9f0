import { availableParallelism } from 'node:os';
import { listKernelFolder, readKernelFile, readKernelNumber } from '../base/kernelFiles.js';

/** How many threads compute: on processors with cores of several speeds not all of them. */

/** A core that this process may run on, as the kernel tells of it. */
export interface Core {
  /** Top clock rate in kHz. */
  clock?: number;
  /** What it computes at that rate, where the fastest core has 1024 (cpu_capacity: clock rate times work per clock). */
  capacity?: number;
}

/** Cores whose clock rate is below this share of the next faster kind's are small ones, if nothing but clock rates is known. */
const gap = 0.8;

/**
 * Threads for such cores. A step of a computation ends when its slowest thread ends, so n threads are worth n times the speed of the
 * slowest of the n fastest cores; the best n is taken. Without capacities the speed of small cores is unknown (a Cortex-A55 at 1.8 GHz
 * does a quarter of the work of a Cortex-A77 at 2.4 GHz), and the slowest kind of cores is left out if its clock rate is far below the
 * next one's. Three kinds are common: the one fastest core of a Snapdragon 870 (3.19 GHz) does not make small ones of those with 2.42.
 *
 * @returns undefined if the cores tell nothing
 */
export function threadsFor(all: readonly Core[]): number | undefined {
  // A core that is off keeps its capacity and has no clock rate.
  const cores = all.some(({ clock }) => clock) ? all.filter(({ clock }) => clock) : all;
  const capacities = known(cores.map((core) => core.capacity));
  // A kernel that is not told what its cores are worth writes 1024 for each.
  if (capacities.length === cores.length && new Set(capacities).size > 1) {
    const worth = capacities.map((slowest, i) => slowest * (i + 1));
    return worth.lastIndexOf(Math.max(...worth)) + 1;
  }
  const clocks = known(cores.map((core) => core.clock));
  if (clocks.length === 0) return undefined;
  const kinds = [...new Set(clocks)].reverse();
  const next = kinds.findIndex((clock, i) => i > 0 && kinds[i - 1]! < gap * clock);
  return next < 0 ? clocks.length : clocks.filter((clock) => clock >= kinds[next]!).length;
}

/** The fastest first. */
const known = (figures: (number | undefined)[]) =>
  figures.filter((figure) => figure !== undefined && figure > 0).sort((a, b) => b! - a!) as number[];

/** Members of a list of the kernel, such as `0-3,6`; undefined for anything else. */
export function kernelList(text: string | undefined): Set<number> | undefined {
  if (text === undefined || !/^\d+(-\d+)?(,\d+(-\d+)?)*$/.test(text)) return undefined;
  const ranges = text.split(',').map((range) => range.split('-').map(Number));
  return new Set(ranges.flatMap(([from = 0, to = from]) => Array.from({ length: to - from + 1 }, (_, i) => from + i)));
}

/** The cores of those allowed that the kernel does not call switched off. */
export function readCores(folder: string, allowed?: ReadonlySet<number>): Core[] {
  const online = kernelList(readKernelFile(folder, 'online'));
  return listKernelFolder(folder)
    .filter((name) => /^cpu\d+$/.test(name))
    .filter((name) => [online, allowed].every((set) => set?.has(Number(name.slice(3))) ?? true))
    .filter((name) => readKernelFile(folder, name, 'online') !== '0')
    .map((name) => ({
      clock: readKernelNumber(folder, name, 'cpufreq/cpuinfo_max_freq'),
      capacity: readKernelNumber(folder, name, 'cpu_capacity'),
    }));
}

/** Cores that this process may run on: Android keeps an app in the background on the small ones. */
const allowedCores = () =>
  kernelList(/^Cpus_allowed_list:\s*(\S+)$/m.exec(readKernelFile('/proc/self/status') ?? '')?.[1]);

/**
 * Threads to compute with: the cores this process may use, without those of a phone that would hold up the others. Linux and Android
 * tell what their cores are; elsewhere all available ones count. LOAM_THREADS sets another number.
 */
export function defaultThreads(folder = '/sys/devices/system/cpu'): number {
  const set = Number(process.env.LOAM_THREADS);
  if (Number.isInteger(set) && set > 0) return set;
  const available = availableParallelism();
  return Math.min(threadsFor(readCores(folder, allowedCores())) ?? available, available);
}
