import { readdir, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { LoamError } from '../util/errors.js';
import { tryLock } from '../util/tryLock.js';
import { explainWriteError } from '../util/writeFileAtomic.js';
import { CATALOG } from './catalog.js';
import { modelPath } from './modelPath.js';
import { modelsFolder } from './modelsFolder.js';
import { readRegister, updateRegister } from './register.js';

export interface RemovedModel {
  name: string;
  /** Bytes freed, unfinished downloads included. */
  bytes: number;
  /** A person's own file, which is only forgotten. */
  kept: string | null;
}

async function bytesOf(path: string): Promise<number> {
  const found = await stat(path).catch(() => null);
  if (found === null) return 0;
  if (!found.isDirectory()) return found.size;
  const names = await readdir(path);
  const sizes = await Promise.all(names.map((name) => bytesOf(join(path, name))));
  return sizes.reduce((sum, size) => sum + size, 0);
}

/**
 * Deletes a model that Loam fetched, with what unfinished downloads left, and forgets it. A file that a person added by its
 * path is forgotten and stays where it is.
 * Throws UsageError for an unknown name, LoamError when there is nothing to remove or the model is being downloaded.
 */
export async function removeModel(name: string, { home }: { home?: string } = {}): Promise<RemovedModel> {
  const folder = modelsFolder(home);
  const path = await modelPath(name, { home });
  const record = (await readRegister(folder)).models[name];
  const forget = () =>
    updateRegister(folder, (models) => {
      delete models[name];
    });
  if (record?.path !== undefined) {
    await forget();
    return { name, bytes: 0, kept: record.path };
  }
  const lock = await tryLock(`${path}.lock`);
  if ('heldBy' in lock) {
    throw new LoamError({
      found: `${name} is being downloaded by process ${lock.heldBy}`,
      where: `${path}.lock`,
      fix: 'stop it first; if no such process exists, delete this file',
    });
  }
  try {
    const names = await readdir(dirname(path)).catch((): string[] => []);
    const stem = basename(path);
    const left = ['', '.partial', '.partial.json', '.pypi', '.pypi.partial'].filter((end) =>
      names.includes(stem + end),
    );
    if (left.length === 0 && record === undefined) {
      throw new LoamError({ found: `${name} is not on this device`, where: path });
    }
    let bytes = 0;
    for (const end of left) {
      bytes += await bytesOf(path + end);
      await rm(path + end, { recursive: true, force: true }).catch((error: unknown) => {
        throw explainWriteError(error, path + end);
      });
    }
    if (record !== undefined || !CATALOG.some((entry) => entry.name === name)) await forget();
    return { name, bytes, kept: null };
  } finally {
    await lock.release();
  }
}
