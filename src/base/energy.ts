import { listKernelFolder, readKernelFile, readKernelNumber } from './kernelFiles.js';

/** Energy used, from the counters of the processor or the charge of the batteries. */

/** The counters as they are now; only the difference of two readings means anything (`EnergyMeter`). */
export type EnergyReading =
  /** Processor and memory. Counters that wrap to 0 at `range`; in joules. */
  | { source: 'rapl'; counters: { zone: string; joules: number; range: number }[] }
  /** The whole device, screen included. What is left in each battery: joules, or coulombs and volts. */
  | { source: 'battery'; batteries: BatteryReading[] };

export interface BatteryReading {
  name: string;
  /** 'Discharging', 'Charging', 'Full', 'Not charging' or 'Unknown' (sysfs-class-power of the kernel). */
  status: string;
  left: { joules: number } | { coulombs: number; volts: number };
}

/**
 * The energy counters of this machine: those of Intel's and AMD's processors if they may be read (Linux, as root since 5.10),
 * else batteries (Linux, and Android if it lets an app see them). Undefined if the platform reports nothing.
 */
export function readEnergy({
  powercap = '/sys/class/powercap',
  powerSupply = '/sys/class/power_supply',
} = {}): EnergyReading | undefined {
  const counters = listKernelFolder(powercap).flatMap((zone) => readZone(powercap, zone));
  if (counters.some(({ zone }) => /^intel-rapl:\d+$/.test(zone))) return { source: 'rapl', counters };
  const batteries = listKernelFolder(powerSupply).flatMap((name) => readBattery(powerSupply, name));
  return batteries.length > 0 ? { source: 'battery', batteries } : undefined;
}

/**
 * A zone to be summed (powercap.rst of the kernel): processor packages, which include their cores, and the memory beside
 * them. Left out: "psys", which includes the packages and which not every firmware feeds, and "intel-rapl-mmio", the same counters
 * by another route.
 */
function readZone(root: string, zone: string): { zone: string; joules: number; range: number }[] {
  if (!/^intel-rapl:\d+(:\d+)?$/.test(zone)) return [];
  const name = readKernelFile(root, zone, 'name');
  const wanted = zone.split(':').length === 2 ? name?.startsWith('package') : name === 'dram';
  const micro = readKernelNumber(root, zone, 'energy_uj');
  const range = readKernelNumber(root, zone, 'max_energy_range_uj');
  if (!wanted || micro === undefined || range === undefined) return [];
  return [{ zone, joules: micro * 1e-6, range: range * 1e-6 }];
}

/** A battery that feeds this device (sysfs-class-power of the kernel): those of mice and pens have the scope "Device". */
function readBattery(root: string, name: string): BatteryReading[] {
  if (readKernelFile(root, name, 'type') !== 'Battery' || readKernelFile(root, name, 'scope') === 'Device') return [];
  const status = readKernelFile(root, name, 'status') ?? 'Unknown';
  // µWh, µAh, µV. Many phones call the charge `charge_counter`.
  const energy = readKernelNumber(root, name, 'energy_now');
  if (energy !== undefined) return [{ name, status, left: { joules: energy * 3600e-6 } }];
  const charge = readKernelNumber(root, name, 'charge_now') ?? readKernelNumber(root, name, 'charge_counter');
  const volts = readKernelNumber(root, name, 'voltage_now');
  if (charge === undefined || volts === undefined) return [];
  return [{ name, status, left: { coulombs: charge * 3600e-6, volts: volts * 1e-6 } }];
}

/**
 * Joules used since it was made. Read it at least every few minutes: a processor's counter wraps to 0 after 65 to 262 kJ, and two wraps
 * between readings look like one.
 */
export class EnergyMeter {
  private last: EnergyReading | undefined;
  private sum = 0;

  constructor(private readonly read: () => EnergyReading | undefined = readEnergy) {
    this.last = read();
  }

  /** Whose energy it is: 'rapl' processor and memory, 'battery' the whole device. Undefined if nothing is reported. */
  get source(): EnergyReading['source'] | undefined {
    return this.last?.source;
  }

  /**
   * Undefined if the platform reports nothing, and for good once a stretch was not covered (a battery that was charging, a counter that
   * has gone): part of the sum is not the sum.
   */
  joules(): number | undefined {
    if (this.last === undefined) return undefined;
    const now = this.read();
    const used = now && between(this.last, now);
    this.last = used === undefined ? undefined : now;
    if (used === undefined) return undefined;
    this.sum += used;
    // Gauges are corrected now and then, and may show more than before.
    return Math.max(0, this.sum);
  }
}

function between(before: EnergyReading, now: EnergyReading): number | undefined {
  if (before.source === 'rapl' && now.source === 'rapl') {
    return total(before.counters, now.counters, 'zone', (a, b) => {
      const used = b.joules - a.joules;
      return used < 0 ? used + b.range : used;
    });
  }
  if (before.source === 'battery' && now.source === 'battery') {
    const covered = onBattery(before.batteries) && onBattery(now.batteries);
    return covered ? total(before.batteries, now.batteries, 'name', drained) : undefined;
  }
  return undefined;
}

/** Sum over the same counters in both readings; undefined if they are not the same or one of them has no value. */
function total<K extends string, T extends Record<K, string>>(
  before: readonly T[],
  now: readonly T[],
  key: K,
  used: (before: T, now: T) => number | undefined,
): number | undefined {
  if (before.length !== now.length) return undefined;
  let sum = 0;
  for (const [i, one] of now.entries()) {
    const part = before[i]![key] === one[key] ? used(before[i]!, one) : undefined;
    if (part === undefined) return undefined;
    sum += part;
  }
  return sum;
}

/** Of two batteries one may wait while the other feeds the device; with the mains at hand none does. */
function onBattery(batteries: readonly BatteryReading[]): boolean {
  const are = (status: string) => batteries.some((battery) => battery.status === status);
  return are('Discharging') && !are('Charging');
}

function drained(before: BatteryReading, now: BatteryReading): number | undefined {
  const [a, b] = [before.left, now.left];
  if ('joules' in a && 'joules' in b) return a.joules - b.joules;
  // The charge that flowed at the mean voltage. Charge times voltage now is not the energy left: it falls when the voltage sags.
  if ('coulombs' in a && 'coulombs' in b) return ((a.coulombs - b.coulombs) * (a.volts + b.volts)) / 2;
  return undefined;
}
