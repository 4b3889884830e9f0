import { mkdir, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { ownCommand } from '../base/device/Attendance.js';
import type { Device } from '../base/device/Device.js';
import { quote } from '../base/device/shell.js';
import { isTermuxItself } from '../base/device/thisDevice.js';
import { LoamError } from '../base/errors.js';
import { explainWriteError } from '../base/io.js';
import { loamHome } from '../base/process.js';
import { findServer } from './client.js';

/** What Loam leaves on a phone when it is asked to: that the server starts with it, a button on its home screen. Termux alone. */

/** Of Android's scheduler: any number, but always the same. */
const SCHEDULED = 4184;

/** Scripts by what they are for, where Termux and its add-ons look for them. */
function files(): { boot: string; scheduled: string; shortcut: string } {
  const home = homedir();
  return {
    boot: join(home, '.termux', 'boot', 'loam'),
    scheduled: loamHome('phone', 'start'),
    shortcut: join(home, '.shortcuts', 'Loam'),
  };
}

/** @throws LoamError (unsupported) where Termux would not find what is written */
function requireTermux(): string {
  const shell = process.env.PREFIX === undefined ? undefined : join(process.env.PREFIX, 'bin', 'sh');
  if (isTermuxItself() && shell !== undefined) return shell;
  throw new LoamError({
    code: 'unsupported',
    found: 'this is not Termux',
    fix: 'on a phone, run it in Termux itself and not in a Linux within it; elsewhere let the system start `loam serve`',
  });
}

async function writeScript(path: string, lines: readonly string[]): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await writeFile(path, `${lines.join('\n')}\n`, { mode: 0o700 });
  } catch (error) {
    throw explainWriteError(error, path);
  }
}

/** Starts the server unless it runs. What it prints lets browsers in, so it is not kept. */
function startLines(shell: string): string[] {
  const info = quote(loamHome('server', 'server.json'));
  return [
    `#!${shell}`,
    '# Written by `loam phone start`; `loam phone remove` takes it away. Starts the server unless it runs: jobs go on by themselves.',
    `pid=$(sed -n 's/.*"pid":\\([0-9]*\\).*/\\1/p' ${info} 2>/dev/null)`,
    'if [ -n "$pid" ] && grep -q loam "/proc/$pid/cmdline" 2>/dev/null; then exit 0; fi',
    `${ownCommand('serve')} </dev/null >/dev/null 2>&1 &`,
  ];
}

export interface StartEntries {
  /** The script that Termux:Boot runs when the phone has started. */
  boot: string;
  /** Whether Android starts the server again, every quarter of an hour, when it has ended Termux. */
  scheduled: boolean;
}

/** Has the server started with the phone, and again when Android has ended it. @throws LoamError: unsupported */
export async function startWithPhone(device: Device): Promise<StartEntries> {
  const lines = startLines(requireTermux());
  const { boot, scheduled } = files();
  await writeScript(boot, lines);
  await writeScript(scheduled, lines);
  return { boot, scheduled: await device.desk.schedule(SCHEDULED, scheduled) };
}

/** A button for Termux:Widget. @returns its script @throws LoamError: unsupported */
export async function addShortcut(): Promise<string> {
  const shell = requireTermux();
  const { shortcut } = files();
  await writeScript(shortcut, [
    `#!${shell}`,
    '# Written by `loam phone shortcut`; `loam phone remove` takes it away. Opens the page, and starts the server first if none runs.',
    `${ownCommand('phone', 'open')} 2>/dev/null || ${ownCommand('serve', '--open')}`,
  ]);
  return shortcut;
}

/** Takes everything away that the others have left. */
export async function forgetPhone(device: Device): Promise<void> {
  const { boot, scheduled, shortcut } = files();
  await device.desk.schedule(SCHEDULED, undefined);
  for (const path of [boot, scheduled, shortcut]) await rm(path, { force: true });
}

/** Opens the page of the server that runs, by a link that is good once. @throws LoamError: not-found; unsupported */
export async function openRunning(device: Device): Promise<void> {
  const server = await findServer(loamHome());
  if ('release' in server) {
    await server.release();
    throw new LoamError({ code: 'not-found', found: 'no server runs', fix: 'start it with `loam serve --open`' });
  }
  const { code } = await server.request<{ code: string }>('POST', '/api/link', {});
  if (await device.desk.open(`${server.base}/#code=${code}`)) return;
  throw new LoamError({
    code: 'unsupported',
    found: 'no browser could be opened',
    fix: 'open the link that `loam serve` prints',
  });
}
