import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { sealedFolderName } from '../jobs/runFolder.js';
import { loamHome } from '../util/home.js';
import { referenceTo } from '../vault/reference.js';
import type { Lineage } from '../vault/types.js';
import type { Vault } from '../vault/Vault.js';
import type { PrivateRun } from './privateRun.js';

export interface VaultRunRequest {
  /** Adapter to add a version to, or a new name; without one the adapter goes to the file of --out. */
  name?: string;
  /** File that the adapter is written to besides, or instead. */
  out?: string;
  /** Id of the data set in the vault that is learnt from; the sha256 alone for a file. */
  dataset?: string;
  /** Ids of versions of the vault that training begins with, and that teaches. */
  parent?: string;
  teacher?: string;
}

/** A run whose data or adapter belongs to the vault: its checkpoints are sealed with a key that lies there. */
export async function vaultRun(vault: Vault, request: VaultRunRequest): Promise<PrivateRun> {
  const { name, dataset, parent, teacher } = request;
  await removeStrayRuns(vault);
  const purpose = { dataset, run: name === undefined ? `file ${request.out}` : `adapter ${name}` };
  const key = await vault.runKeys.get(purpose);
  const forget = () => vault.runKeys.forget(purpose);
  if (name === undefined) return { key, forget };
  return {
    key,
    forget,
    keeper: {
      name,
      check: ({ name: model, sha256 }) => vault.adapters.requireFits(name, { name: model, sha256 }),
      async keep(bytes, adapter, measured) {
        const model = { name: adapter.base.name, sha256: adapter.base.sha256 };
        const lineage: Lineage = {
          base: model,
          datasets: [{ id: dataset, sha256: String(adapter.recipe.data) }],
          recipe: adapter.recipe,
          metrics: adapter.metrics,
          parent,
          teacher,
        };
        const version = await vault.adapters.addVersion({ name, model }, bytes, lineage, { activate: measured });
        return referenceTo({ name }, version);
      },
    },
  };
}

/** Folders of stopped runs whose key is gone: nobody can read them, and nothing goes on from them. */
async function removeStrayRuns(vault: Vault): Promise<void> {
  const runs = loamHome('runs');
  const names = await readdir(runs).catch(() => []);
  const known = new Set((await vault.runKeys.all()).map(sealedFolderName));
  for (const name of names) {
    if (name.startsWith('sealed-') && !known.has(name)) await rm(join(runs, name), { recursive: true, force: true });
  }
}
