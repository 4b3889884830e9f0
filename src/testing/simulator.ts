import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Simulation } from '../base/device/simulated.js';
import { scratchFolder } from './scratch.js';

/** A simulated device for processes that a test starts: how it stands can be changed while they work. */
export class Simulator {
  private readonly path = join(scratchFolder(), 'device.json');

  constructor(private now: Simulation) {
    this.set({});
  }

  /** For the processes: looks at the device many times a second. */
  get env(): NodeJS.ProcessEnv {
    return { LOAM_DEVICE: this.path, LOAM_DEVICE_SECONDS: '0.02' };
  }

  set(changes: Simulation): void {
    this.now = { ...this.now, ...changes };
    writeFileSync(`${this.path}.new`, JSON.stringify(this.now));
    renameSync(`${this.path}.new`, this.path);
  }

  /** What the device was asked for so far. */
  // biome-ignore lint/suspicious/noExplicitAny: what follows the name depends on it
  get actions(): [name: string, ...any[]][] {
    const path = `${this.path}.actions`;
    if (!existsSync(path)) return [];
    return readFileSync(path, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
  }
}

/** A phone on its charger at noon, with all that rules ask for. */
export const contentPhone = {
  at: '2026-11-03T12:00:00',
  battery: { percent: 80, charging: true, celsius: 30 },
  processorCelsius: 50,
  idleSeconds: 3600,
  freeMemory: 64e9,
} as const satisfies Simulation;

/** Each asks something that is so. */
export const allRules = {
  whileCharging: true,
  minBattery: 30,
  maxCelsius: 38,
  hours: '9:00-17:00',
  idle: 60,
  minMemory: 100,
} as const;

/** What breaks one of them each, and what a run then says. */
export const disturbances = {
  unplugged: [{ battery: { ...contentPhone.battery, charging: false } }, /not charging/],
  empty: [{ battery: { ...contentPhone.battery, percent: 12 } }, /12 %/],
  heat: [{ battery: { ...contentPhone.battery, celsius: 44 } }, /44 °C/],
  memory: [{ freeMemory: 50e6 }, /50.0 MB of memory/],
  clock: [{ at: '2026-11-04T03:00:00' }, /it is 3:00/],
  used: [{ idleSeconds: 0 }, /used it/],
} as const satisfies Record<string, readonly [Simulation, RegExp]>;
