import { join } from 'node:path';
import { listKernelFolder, readKernelFile, readKernelNumber } from '../kernelFiles.js';
import { readMemory } from '../memory.js';
import { type Desk, type Device, emptyDesk } from './Device.js';
import { placeOf } from './place.js';
import { askProgram, keepProgram, tellProgram } from './programs.js';
import { type Battery, plausible, type Reading } from './Reading.js';

/** Linux: the kernel's files, and UPower where they tell nothing (a sandbox). */

/**
 * The batteries that feed this device, and what charges them (sysfs-class-power of the kernel). Null if the kernel lists supplies, or
 * none at all, and no battery; undefined if the list cannot be read.
 */
export function sysfsBattery(root = '/sys/class/power_supply'): Battery | null | undefined {
  const names = readKernelFolder(root);
  if (names === undefined) return undefined;
  const there = names.filter((name) => isOwnBattery(root, name));
  const batteries = there.flatMap((name) => readBattery(root, name));
  if (batteries.length === 0) return there.length > 0 ? undefined : null;
  const weight = batteries.reduce((sum, { full }) => sum + full, 0);
  const percent = batteries.reduce((sum, one) => sum + one.percent * one.full, 0) / weight;
  const are = (...states: string[]) => batteries.some(({ status }) => states.includes(status));
  const plugged = names.some(
    (name) => isExternal(readKernelFile(root, name, 'type')) && readKernelNumber(root, name, 'online') === 1,
  );
  const temperatures = batteries.flatMap(({ celsius }) => celsius ?? []);
  const left = batteries.map((one) => one.left);
  return {
    percent: Math.round(10 * percent) / 10,
    charging: !are('Discharging') && (are('Charging', 'Full') || plugged),
    ...(temperatures.length > 0 && { celsius: Math.max(...temperatures) }),
    ...(left.length === 1 && left[0] && { left: left[0] }),
  };
}

/** Undefined if it is not there, or may not be listed. */
function readKernelFolder(root: string): string[] | undefined {
  const names = listKernelFolder(root);
  return names.length > 0 || listKernelFolder(join(root, '..')).includes(root.slice(root.lastIndexOf('/') + 1))
    ? names
    : undefined;
}

function isExternal(type: string | undefined): boolean {
  return type !== undefined && /^(Mains|USB|Wireless|UPS)/.test(type);
}

/** One that feeds this device: those of mice and pens have the scope "Device". */
function isOwnBattery(root: string, name: string): boolean {
  const is = (file: string, value: string) => readKernelFile(root, name, file) === value;
  return is('type', 'Battery') && !is('scope', 'Device') && !is('present', '0');
}

interface SysfsBattery {
  percent: number;
  status: string;
  /** What it holds when it is full, in a unit that all of them have; 1 if it does not tell. */
  full: number;
  celsius?: number;
  left: Battery['left'];
}

function readBattery(root: string, name: string): SysfsBattery[] {
  const number = (file: string) => readKernelNumber(root, name, file);
  const [energy, energyFull] = [number('energy_now'), number('energy_full')];
  const [charge, chargeFull] = [number('charge_now') ?? number('charge_counter'), number('charge_full')];
  const share =
    energy !== undefined && energyFull
      ? energy / energyFull
      : charge !== undefined && chargeFull
        ? charge / chargeFull
        : undefined;
  const percent = number('capacity') ?? (share === undefined ? undefined : 100 * share);
  if (percent === undefined || percent < 0) return [];
  const volts = number('voltage_now');
  const tenths = number('temp');
  const left =
    energy !== undefined
      ? { joules: energy * 3600e-6 }
      : charge !== undefined && charge > 0 && volts !== undefined
        ? { coulombs: charge * 3600e-6, volts: volts * 1e-6 }
        : undefined;
  return [
    {
      percent: Math.min(100, percent),
      status: readKernelFile(root, name, 'status') ?? 'Unknown',
      full: energyFull ?? chargeFull ?? 1,
      celsius: plausible(tenths === undefined ? undefined : tenths / 10),
      left,
    },
  ];
}

/** Zones and sensors of the processor, by the names that drivers give them. */
const processor = /cpu|x86_pkg|soc|core|package|k10temp|zenpower|acpitz|tsens|cluster/i;

/** Degrees Celsius of the hottest part of the processor (sysfs-class-thermal, sysfs-class-hwmon of the kernel). */
export function readThermal(thermal = '/sys/class/thermal', hwmon = '/sys/class/hwmon'): number | undefined {
  const zones = listKernelFolder(thermal)
    .filter((zone) => processor.test(readKernelFile(thermal, zone, 'type') ?? ''))
    .map((zone) => readKernelNumber(thermal, zone, 'temp'));
  const sensors = listKernelFolder(hwmon)
    .filter((chip) => processor.test(readKernelFile(hwmon, chip, 'name') ?? ''))
    .flatMap((chip) =>
      listKernelFolder(join(hwmon, chip))
        .filter((file) => /^temp\d+_input$/.test(file))
        .map((file) => readKernelNumber(hwmon, chip, file)),
    );
  const found = [...zones, ...sensors].flatMap((value) => plausible(inDegrees(value)) ?? []);
  return found.length > 0 ? Math.max(...found) : undefined;
}

/** Thousandths, or, from the drivers of some phones, whole degrees. */
function inDegrees(value: number | undefined): number | undefined {
  return value === undefined || Math.abs(value) <= 150 ? value : value / 1000;
}

/** The batteries in what `upower --dump` prints; null if it knows of none that feeds this device. */
export function parseUpower(text: string): Battery | null | undefined {
  if (!/^Daemon:/m.test(text)) return undefined;
  const blocks = text.split(/^(?=Device: |Daemon:)/m);
  // The "DisplayDevice" is the sum of the others.
  const block = blocks.find((one) => /DisplayDevice/.test(one.split('\n')[0]!)) ?? '';
  const field = (name: string, from = block) => new RegExp(`^ *${name}: +(.+?) *$`, 'm').exec(from)?.[1];
  const onBattery = /^ *on-battery: +yes *$/m.test(text);
  const percent = Number(/^([\d.,]+)%/.exec(field('percentage') ?? '')?.[1]?.replace(',', '.'));
  const state = field('state');
  if (field('power supply') === 'no' || !Number.isFinite(percent) || field('present') === 'no') return null;
  const temperatures = blocks
    .filter((one) => /\/battery_/.test(one.split('\n')[0]!) && field('power supply', one) === 'yes')
    .flatMap((one) => plausible(Number.parseFloat(field('temperature', one) ?? '')) ?? []);
  const wattHours = Number.parseFloat((field('energy') ?? '').replace(',', '.'));
  return {
    percent,
    charging: !onBattery && state !== 'discharging' && state !== 'empty',
    ...(temperatures.length > 0 && { celsius: Math.max(...temperatures) }),
    ...(wattHours > 0 && { left: { joules: 3600 * wattHours } }),
  };
}

/** Milliseconds in the answer of Mutter's idle monitor, "(uint64 12345,)", or of xprintidle, "12345". */
export function parseIdle(text: string): number | undefined {
  const found = /^(?:\(uint64 )?(\d+)(?:,\))?$/.exec(text.trim())?.[1];
  return found === undefined ? undefined : Number(found);
}

const mutter = [
  'call',
  '--session',
  '--dest',
  'org.gnome.Mutter.IdleMonitor',
  '--object-path',
  '/org/gnome/Mutter/IdleMonitor/Core',
  '--method',
  'org.gnome.Mutter.IdleMonitor.GetIdletime',
] as const;

export class LinuxDevice implements Device {
  readonly name = 'Linux';
  readonly place = placeOf;
  readonly mobile = false;

  async read(): Promise<Reading> {
    let battery = sysfsBattery();
    if (battery === undefined) battery = parseUpower((await askProgram('upower', ['--dump'])) ?? '');
    return {
      at: new Date(),
      battery,
      processorCelsius: readThermal(),
      idleSeconds: await idleSeconds(),
      freeMemory: readMemory().available,
    };
  }

  async android(): Promise<undefined> {
    return undefined;
  }

  async keepAwake(): Promise<AsyncDisposable | undefined> {
    const why = ['--what=sleep:idle', '--who=Loam', '--why=a model is being tuned', '--mode=block'];
    return keepProgram('systemd-inhibit', [...why, 'sleep', 'infinity']);
  }

  readonly desk: Desk = {
    ...emptyDesk,
    notify: ({ title, text, ongoing }) =>
      ongoing ? Promise.resolve(false) : tellProgram('notify-send', ['--', title, text]),
    open: (url) => tellProgram('xdg-open', [url]),
  };
}

/** Of a desktop's session; undefined where there is none. */
async function idleSeconds(): Promise<number | undefined> {
  if (process.env.DISPLAY === undefined && process.env.WAYLAND_DISPLAY === undefined) return undefined;
  const answer = (await askProgram('gdbus', mutter)) ?? (await askProgram('xprintidle')) ?? '';
  const ms = parseIdle(answer);
  return ms === undefined ? undefined : ms / 1000;
}
