import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../errors.js';
import { readMemory } from '../memory.js';
import { loamHome } from '../process.js';
import type { Android, Desk, Device, Notice, SettingsPage } from './Device.js';
import { readThermal, sysfsBattery } from './linux.js';
import { placeOf } from './place.js';
import { askProgram, findProgram, tellProgram } from './programs.js';
import { type Battery, plausible, type Reading } from './Reading.js';

/** Android, through Termux's programs and those of its add-ons (Termux:API). */

/** Milliseconds before what did not answer is asked again: without its app, Termux:API never does. */
const SILENCE_MS = 600_000;

/** The answer of `termux-battery-status` (BatteryStatusAPI.java): of early versions too, which tell less. */
export function parseTermuxBattery(text: string): Battery | null | undefined {
  let told: Record<string, unknown>;
  try {
    told = JSON.parse(text) as Record<string, unknown>;
  } catch {
    return undefined;
  }
  if (typeof told !== 'object' || told === null) return undefined;
  const number = (name: string) => {
    const value = told[name];
    return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
  };
  if (told.present === false) return null;
  const [level, scale] = [number('level'), number('scale')];
  const percent = number('percentage') ?? (level !== undefined && scale ? (100 * level) / scale : undefined);
  if (percent === undefined || percent < 0) return undefined;
  const { plugged, status } = told;
  // A weak charger may be plugged in while the battery runs down.
  const charging =
    typeof plugged === 'string'
      ? plugged !== 'UNPLUGGED' && status !== 'DISCHARGING'
      : status === 'CHARGING' || status === 'FULL';
  const celsius = plausible(number('temperature'));
  // Microampere-hours and millivolts.
  const [charge, voltage] = [number('charge_counter'), number('voltage')];
  return {
    percent: Math.min(100, percent),
    charging,
    ...(celsius !== undefined && { celsius }),
    ...(charge !== undefined &&
      charge > 0 &&
      voltage !== undefined &&
      voltage > 0 && {
        left: { coulombs: charge * 3600e-6, volts: voltage * 1e-3 },
      }),
  };
}

/** The lists of jobs that `termux-job-scheduler --pending` prints: their numbers. */
export function parsePendingJobs(text: string): number[] {
  return [...text.matchAll(/^Pending Job (\d+):/gm)].map(([, id]) => Number(id));
}

/** Of this process, so far. */
let holders = 0;

export class TermuxDevice implements Device {
  readonly name = 'Termux';
  readonly place = placeOf;
  readonly mobile = true;
  private silentUntil = 0;

  async read(): Promise<Reading> {
    return {
      at: new Date(),
      battery: await this.battery(),
      processorCelsius: readThermal(),
      freeMemory: readMemory().available,
    };
  }

  private async battery(): Promise<Battery | null | undefined> {
    // Few systems let apps read it, and those that do tell it without a second process.
    const told = sysfsBattery();
    if (told) return told;
    if (performance.now() < this.silentUntil) return undefined;
    const answer = await askProgram('termux-battery-status');
    if (answer === undefined || answer.trim() === '') this.silentUntil = performance.now() + SILENCE_MS;
    return parseTermuxBattery(answer ?? '');
  }

  async android(): Promise<Android> {
    const level = Number((await askProgram('getprop', ['ro.build.version.sdk']))?.trim());
    // The switch of the developer options (Android 14 and later), and the setting behind it (12L and later).
    const flag = (
      await askProgram('getprop', ['persist.sys.fflag.override.settings_enable_monitor_phantom_procs'])
    )?.trim();
    const setting = (await askProgram('settings', ['get', 'global', 'settings_enable_monitor_phantom_procs']))?.trim();
    const limited = [flag, setting].includes('false') ? 'off' : [flag, setting].includes('true') ? 'on' : 'unknown';
    const allowed = await askProgram('cmd', ['deviceidle', 'whitelist']);
    return {
      level: Number.isInteger(level) && level > 0 ? level : undefined,
      phantomLimit: limited,
      batteryOptimised:
        allowed === undefined || allowed.trim() === ''
          ? 'unknown'
          : /\bcom\.termux\b(?!\.)/.test(allowed)
            ? 'off'
            : 'on',
      programs: {
        wakeLock: findProgram('termux-wake-lock') !== undefined,
        api: parseTermuxBattery((await askProgram('termux-battery-status')) ?? '') !== undefined,
        scheduler: findProgram('termux-job-scheduler') !== undefined,
        boot: (await askProgram('pm', ['path', 'com.termux.boot']))?.includes('package:') ?? false,
      },
    };
  }

  /** Termux has one lock, which does not count who wants it: the last one of our processes gives it back. */
  async keepAwake(): Promise<AsyncDisposable | undefined> {
    const folder = loamHome('awake');
    const own = join(folder, `${process.pid}.${++holders}`);
    await mkdir(folder, { recursive: true })
      .then(() => writeFile(own, ''))
      .catch(() => {});
    if (!(await tellProgram('termux-wake-lock'))) return undefined;
    return {
      async [Symbol.asyncDispose]() {
        await rm(own, { force: true });
        const left = await readdir(folder).catch(() => []);
        if (!left.some((name) => isAlive(Number.parseInt(name, 10)))) await tellProgram('termux-wake-unlock');
      },
    };
  }

  readonly desk: Desk = {
    notify: (notice) => tellProgram('termux-notification', notificationArguments(notice), notice.text),
    unnotify: (id) => tellProgram('termux-notification-remove', [id]),
    share: (path) => tellProgram('termux-share', ['-a', 'send', path]),
    open: (url) => tellProgram('termux-open-url', [url]),
    settings: (page) => tellProgram('am', ['start', '-a', `android.settings.${settings[page]}`]),
    schedule: (id, script) =>
      tellProgram('termux-job-scheduler', [
        '--job-id',
        String(id),
        ...(script === undefined
          ? ['--cancel']
          : ['--script', script, '--period-ms', '900000', '--persisted', 'true', '--network', 'none']),
      ]),
  };
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return systemCode(error) === 'EPERM';
  }
}

/** Actions of intents (android.provider.Settings). */
const settings = {
  battery: 'IGNORE_BATTERY_OPTIMIZATION_SETTINGS',
  developer: 'APPLICATION_DEVELOPMENT_SETTINGS',
  date: 'DATE_SETTINGS',
} as const satisfies Record<SettingsPage, string>;

/** The text goes over standard input: an argument would begin with a dash some day. */
function notificationArguments({ id, title, ongoing, button }: Notice): string[] {
  return [
    '--id',
    id,
    '--title',
    title,
    ...(ongoing ? ['--ongoing', '--alert-once', '--priority', 'low'] : []),
    ...(button ? ['--button1', button.label, '--button1-action', button.command] : []),
  ];
}
