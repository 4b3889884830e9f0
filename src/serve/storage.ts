import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Storage } from './contract/server.js';
import { withoutPaths } from './paths.js';
import type { Services } from './Services.js';

/** What everything takes on the disk, by kind. */
export async function storageOf(services: Services): Promise<Storage> {
  const { vault, home } = services;
  const { models } = await services.models();
  return {
    vault: vault.storage(),
    models: models.filter(({ installed }) => installed).reduce((sum, { size }) => sum + size, 0),
    runs: await folderBytes(join(home, 'runs')),
    problems: vault.problems.map(withoutPaths),
  };
}

async function folderBytes(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  let sum = 0;
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath ?? entry.path, entry.name);
    sum += await stat(path).then(
      ({ size }) => size,
      () => 0,
    );
  }
  return sum;
}
