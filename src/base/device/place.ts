import { realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import { freeBytes } from '../io.js';
import { liesInMemory } from '../spillFile.js';
import type { Place } from './Device.js';

/** Where Android has the storage that apps share, by any of its names; links of `termux-setup-storage` lead there. */
const SHARED = /^\/(sdcard|storage\/(emulated|self|[0-9A-F]{4}-[0-9A-F]{4})|mnt\/(sdcard|media_rw|user))(\/|$)/;

export async function placeOf(folder: string): Promise<Place> {
  const real = await realpathOf(folder);
  return {
    free: (await freeBytes(real)) ?? undefined,
    inMemory: await liesInMemory(real),
    shared: SHARED.test(folder) || SHARED.test(real),
  };
}

/** Of what is there of it. */
async function realpathOf(path: string): Promise<string> {
  const found = await realpath(path).catch(() => undefined);
  if (found !== undefined || dirname(path) === path) return found ?? path;
  return await realpathOf(dirname(path));
}
