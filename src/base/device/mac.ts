import { readMemory } from '../memory.js';
import { type Desk, type Device, emptyDesk } from './Device.js';
import { placeOf } from './place.js';
import { askProgram, keepProgram, tellProgram } from './programs.js';
import { type Battery, plausible, type Reading } from './Reading.js';

/** macOS: pmset(1) for the battery, ioreg(8) for its heat and for how long nobody has used the keyboard, caffeinate(8). */

/** What `pmset -g batt` prints; null for a Mac without a battery. */
export function parsePmset(text: string): Battery | null | undefined {
  const source = /^Now drawing from '([^']+)'/m.exec(text)?.[1];
  if (source === undefined) return undefined;
  const found = /^ *-InternalBattery[^\n]*?\t? *(\d{1,3})%; *([^;\n]+)/m.exec(text);
  if (!found || /present: false/.test(found[0])) return null;
  const state = found[2]!.trim();
  return { percent: Math.min(100, Number(found[1])), charging: source === 'AC Power' && state !== 'discharging' };
}

/** Degrees, and what is left, in what `ioreg -rn AppleSmartBattery` prints: hundredths of a degree, milliampere-hours, millivolts. */
export function parseSmartBattery(text: string): Pick<Battery, 'celsius' | 'left'> {
  const number = (name: string) => {
    const found = new RegExp(`^[ |]*"${name}" = (\\d+)$`, 'm').exec(text)?.[1];
    return found === undefined ? undefined : Number(found);
  };
  const [hundredths, charge, millivolts] = [
    number('Temperature'),
    number('AppleRawCurrentCapacity'),
    number('Voltage'),
  ];
  const celsius = plausible(hundredths === undefined ? undefined : hundredths / 100);
  return {
    ...(celsius !== undefined && { celsius }),
    ...(charge !== undefined &&
      millivolts !== undefined && { left: { coulombs: 3.6 * charge, volts: millivolts / 1000 } }),
  };
}

/** Seconds since the last key or movement, in what `ioreg -c IOHIDSystem` prints: nanoseconds. */
export function parseHidIdle(text: string): number | undefined {
  const found = /"HIDIdleTime" = (\d+)/.exec(text)?.[1];
  return found === undefined ? undefined : Number(found) / 1e9;
}

export class MacDevice implements Device {
  readonly name = 'macOS';
  readonly place = placeOf;
  readonly mobile = false;

  async read(): Promise<Reading> {
    const [batt, smart, hid] = await Promise.all([
      askProgram('pmset', ['-g', 'batt']),
      askProgram('ioreg', ['-rn', 'AppleSmartBattery']),
      askProgram('ioreg', ['-d', '4', '-c', 'IOHIDSystem']),
    ]);
    const battery = parsePmset(batt ?? '');
    return {
      at: new Date(),
      battery: battery && { ...battery, ...parseSmartBattery(smart ?? '') },
      idleSeconds: parseHidIdle(hid ?? ''),
      freeMemory: readMemory().available,
    };
  }

  async android(): Promise<undefined> {
    return undefined;
  }

  async keepAwake(): Promise<AsyncDisposable | undefined> {
    return keepProgram('caffeinate', ['-i', '-w', String(process.pid)]);
  }

  readonly desk: Desk = { ...emptyDesk, open: (url) => tellProgram('open', [url]) };
}
