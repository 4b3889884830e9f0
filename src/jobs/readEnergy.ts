import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** What stands in the counters now; only differences of two readings mean anything (`EnergyMeter`). */
export type EnergyReading =
  /** Processor and memory. Counters that start at 0 again past `range`; in joules. */
  | { source: 'rapl'; counters: { zone: string; joules: number; range: number }[] }
  /** The whole device, screen included. What is left in each battery: joules, or coulombs at so many volts. */
  | { source: 'battery'; batteries: BatteryReading[] };

export interface BatteryReading {
  name: string;
  /** 'Discharging', 'Charging', 'Full', 'Not charging' or 'Unknown' (sysfs-class-power of the kernel). */
  status: string;
  left: { joules: number } | { coulombs: number; volts: number };
}

/**
 * The energy counters of this machine: those of Intel's and AMD's processors where they may be read (Linux, as root since 5.10),
 * else batteries (Linux, and Android where it lets an app see them). Undefined where the platform tells nothing.
 */
export function readEnergy({
  powercap = '/sys/class/powercap',
  powerSupply = '/sys/class/power_supply',
} = {}): EnergyReading | undefined {
  const counters = names(powercap).flatMap((zone) => readZone(powercap, zone));
  if (counters.some(({ zone }) => /^intel-rapl:\d+$/.test(zone))) return { source: 'rapl', counters };
  const batteries = names(powerSupply).flatMap((name) => readBattery(powerSupply, name));
  return batteries.length > 0 ? { source: 'battery', batteries } : undefined;
}

/**
 * A zone that is to be summed (powercap.rst of the kernel): processor packages, which include their cores, and the memory beside
 * them. Left out: "psys", which includes the packages and is not fed by every firmware, and "intel-rapl-mmio", the same counters
 * by another way.
 */
function readZone(root: string, zone: string): { zone: string; joules: number; range: number }[] {
  if (!/^intel-rapl:\d+(:\d+)?$/.test(zone)) return [];
  const name = text(root, zone, 'name');
  const wanted = zone.split(':').length === 2 ? name?.startsWith('package') : name === 'dram';
  const micro = number(root, zone, 'energy_uj');
  const range = number(root, zone, 'max_energy_range_uj');
  if (!wanted || micro === undefined || range === undefined) return [];
  return [{ zone, joules: micro * 1e-6, range: range * 1e-6 }];
}

/** A battery that feeds this device (sysfs-class-power of the kernel): those of mice and pens have the scope "Device". */
function readBattery(root: string, name: string): BatteryReading[] {
  if (text(root, name, 'type') !== 'Battery' || text(root, name, 'scope') === 'Device') return [];
  const status = text(root, name, 'status') ?? 'Unknown';
  // µWh, µAh, µV. Many phones call the charge `charge_counter`.
  const energy = number(root, name, 'energy_now');
  if (energy !== undefined) return [{ name, status, left: { joules: energy * 3600e-6 } }];
  const charge = number(root, name, 'charge_now') ?? number(root, name, 'charge_counter');
  const volts = number(root, name, 'voltage_now');
  if (charge === undefined || volts === undefined) return [];
  return [{ name, status, left: { coulombs: charge * 3600e-6, volts: volts * 1e-6 } }];
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}

function text(...path: string[]): string | undefined {
  try {
    return readFileSync(join(...path), 'latin1').trim();
  } catch {
    // Not there, not for us to read, or a driver without an answer (ENODATA).
    return undefined;
  }
}

function number(...path: string[]): number | undefined {
  const found = text(...path);
  return found !== undefined && /^-?\d+$/.test(found) ? Number(found) : undefined;
}
