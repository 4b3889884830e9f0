import { readdir, stat } from 'node:fs/promises';
import { arch, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Android, Device, Place } from '../../base/device/Device.js';
import type { Reading } from '../../base/device/Reading.js';
import { LoamError } from '../../base/errors.js';
import { readKernelFile } from '../../base/kernelFiles.js';
import { loamHome } from '../../base/process.js';
import type { examineDevice } from '../../models/device.js';
import type { VaultState } from '../../store/types.js';
import { Vault } from '../../store/Vault.js';
import { findServer } from '../client.js';
import type { Status } from '../contract/server.js';

/** What decides how fast jobs run on this device, and whether they live: everything that the checks of `loam doctor` look at. */
export interface Circumstances {
  reading: Reading;
  android: Android | undefined;
  engine: EngineFacts;
  places: Places;
  server: ServerFacts;
}

export interface EngineFacts {
  /** Of the processor: "arm64", "x64". */
  arch: string;
  /** What the kernels in use were built for, by ggml's names. */
  features: Readonly<Record<string, string>>;
  /** Whether there is a layout of weights that is faster than the plain one. */
  repacks: boolean;
  /** What the processor can do, by the kernel's names; empty if it is not told. */
  flags: ReadonlySet<string>;
}

export interface Places {
  home: Place & { path: string };
  temporary: Place & { path: string };
  models: readonly (Place & { name: string; path: string })[];
  /** Time of the newest change in the home, which a clock that is right does not go behind. */
  newestChange: number;
}

export interface ServerFacts {
  vault: VaultState;
  /** What is wrong with this installation's page; undefined if nothing is. */
  page: string | undefined;
  /** Of a server that runs: whether what it hands out is of this installation; 'silent' if it does not answer. */
  running: 'current' | 'other' | 'silent' | undefined;
}

/**
 * Looks at everything. What cannot be looked at is left out.
 * @param worker the text of this installation's service worker, which names the version of the page @throws never for the device's sake
 */
export async function gather(
  device: Device,
  report: Awaited<ReturnType<typeof examineDevice>>,
  worker: () => Promise<string>,
): Promise<Circumstances> {
  const home = loamHome();
  const at = async (path: string) => ({ path, ...(await device.place(path)) });
  const main = report.devices.at(-1);
  const text = readKernelFile('/proc/cpuinfo') ?? '';
  const flags = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(text)?.[1]?.split(' ') ?? [];
  const own = await worker().catch((error: unknown) => error);
  return {
    reading: await device.read(),
    android: await device.android(),
    engine: {
      arch: arch(),
      features: main?.features ?? {},
      repacks: report.devices.some(({ bufferTypes }) => bufferTypes.length > 1),
      flags: new Set(flags),
    },
    places: {
      home: await at(home),
      temporary: await at(tmpdir()),
      models: await Promise.all(report.models.map(async ({ name, path }) => ({ name, ...(await at(path)) }))),
      newestChange: await newestChange(home),
    },
    server: {
      vault: Vault.state(home),
      page: typeof own === 'string' ? undefined : own instanceof LoamError ? own.clause : 'it cannot be read',
      running: await runningServer(home, typeof own === 'string' ? own : undefined),
    },
  };
}

async function newestChange(home: string): Promise<number> {
  const names = await readdir(home).catch(() => []);
  const times = await Promise.all(
    names.map((name) =>
      stat(join(home, name)).then(
        ({ mtimeMs }) => mtimeMs,
        () => 0,
      ),
    ),
  );
  return Math.max(0, ...times);
}

async function runningServer(home: string, worker: string | undefined): Promise<ServerFacts['running']> {
  let server: Awaited<ReturnType<typeof findServer>>;
  try {
    server = await findServer(home);
  } catch {
    return 'silent';
  }
  if ('release' in server) {
    await server.release();
    return undefined;
  }
  try {
    await server.request<Status>('GET', '/api/status');
    const served = await server.page('/sw.js');
    return worker === undefined || served === worker ? 'current' : 'other';
  } catch {
    return 'silent';
  }
}
