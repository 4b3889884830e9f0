import { appendFileSync, readFileSync } from 'node:fs';
import { LoamError } from '../errors.js';
import { readMemory } from '../memory.js';
import type { Android, Desk, Device, Place } from './Device.js';
import { placeOf } from './place.js';
import type { Reading } from './Reading.js';

/** A device that a file describes, for tests: it is read anew each time, and what is asked of the device is written down beside it. */

/** What the file may hold; what it leaves out is not told. */
export interface Simulation extends Partial<Omit<Reading, 'at'>> {
  /** ISO date; without a zone in the device's own. */
  at?: string;
  android?: Android;
  /** By the path that a folder begins with. */
  places?: Record<string, Partial<Place>>;
}

export class SimulatedDevice implements Device {
  readonly name = 'simulated';
  readonly mobile = true;

  constructor(private readonly path: string) {}

  private get file(): Simulation {
    // Whoever writes it may be at it: the next moment shows it whole.
    for (let i = 0; i < 100; i++) {
      try {
        return JSON.parse(readFileSync(this.path, 'utf8')) as Simulation;
      } catch (error) {
        if (i < 99 && (error as NodeJS.ErrnoException).code !== 'ENOENT') continue;
        const found = 'it does not describe a device, which LOAM_DEVICE says';
        throw new LoamError(
          { code: 'invalid-data', found, where: this.path, fix: 'unset LOAM_DEVICE' },
          { cause: error },
        );
      }
    }
    return {};
  }

  async read(): Promise<Reading> {
    const { android: _, places: __, at, ...told } = this.file;
    return { freeMemory: readMemory().available, ...told, at: at === undefined ? new Date() : new Date(at) };
  }

  async place(folder: string): Promise<Place> {
    const told = Object.entries(this.file.places ?? {}).find(([path]) => folder.startsWith(path));
    return { ...(await placeOf(folder)), ...told?.[1] };
  }

  async android(): Promise<Android | undefined> {
    return this.file.android;
  }

  private async note(action: string, ...what: unknown[]): Promise<boolean> {
    appendFileSync(`${this.path}.actions`, `${JSON.stringify([action, ...what])}\n`);
    return true;
  }

  async keepAwake(): Promise<AsyncDisposable> {
    await this.note('keepAwake');
    return {
      [Symbol.asyncDispose]: async () => {
        await this.note('sleep');
      },
    };
  }

  readonly desk: Desk = {
    notify: (notice) => this.note('notify', notice),
    unnotify: (id) => this.note('unnotify', id),
    share: (path) => this.note('share', path),
    open: (url) => this.note('open', url),
    settings: (page) => this.note('settings', page),
    schedule: (id, script) => this.note('schedule', id, script ?? null),
  };
}
