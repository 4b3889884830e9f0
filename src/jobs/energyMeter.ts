import { type BatteryReading, type EnergyReading, readEnergy } from './readEnergy.js';

/**
 * Joules used since it was made. Read it at least every few minutes: a processor's counter starts at 0 again after 65 to 262 kJ,
 * and two rounds between readings cannot be told from one.
 */
export class EnergyMeter {
  private last: EnergyReading | undefined;
  private sum = 0;

  constructor(private readonly read: () => EnergyReading | undefined = readEnergy) {
    this.last = read();
  }

  /** Whose energy it is: 'rapl' processor and memory, 'battery' the whole device. Undefined where none is told. */
  get source(): EnergyReading['source'] | undefined {
    return this.last?.source;
  }

  /**
   * Undefined where the platform tells nothing, and from the first time on that a stretch was not covered (a battery that was being
   * charged, a counter that has gone): a part of the sum is not the sum.
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

/** Sum over the same counters in both readings; undefined when they are not the same or one of them does not tell. */
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
