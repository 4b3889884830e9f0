import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** A core counts as fast when its top clock is at least this share of the fastest core's. */
const fastShare = 0.8;

/**
 * Threads to compute with: the cores this process may use, without the slow cores of a phone, since every matrix product ends when
 * its slowest thread ends. The clock rates are those Linux and Android publish; elsewhere all available cores count. LOAM_THREADS
 * sets another number.
 */
export function defaultThreads(folder = '/sys/devices/system/cpu'): number {
  const set = Number(process.env.LOAM_THREADS);
  if (Number.isInteger(set) && set > 0) return set;
  const available = availableParallelism();
  try {
    const clocks = readdirSync(folder)
      .filter((name) => /^cpu\d+$/.test(name))
      .map((name) => Number(readFileSync(`${folder}/${name}/cpufreq/cpuinfo_max_freq`, 'utf8')));
    const fastest = Math.max(...clocks);
    const fast = clocks.filter((clock) => clock >= fastShare * fastest).length;
    return fast > 0 ? Math.min(fast, available) : available;
  } catch {
    return available;
  }
}
