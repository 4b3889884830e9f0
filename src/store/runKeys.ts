import { createHash, randomBytes } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { KEY_BYTES } from '../base/crypto.js';
import { tryLock } from '../base/lock.js';
import type { DocumentStore } from './documents.js';

/**
 * What lies outside the vault and belongs to it: the folders of runs that have not ended, under `LOAM_HOME/runs`. What they hold is sealed
 * with a key that lies in the vault; without it such a folder is noise.
 */

/** Kind of the documents that are keys. */
const KIND = 'run-key';
const PREFIX = 'sealed-';

/** Which run a key belongs to. */
interface RunPurpose {
  /** Ids of the data sets it learns from that lie in the vault: deleting one deletes the key. */
  datasets?: readonly string[];
  /** Ids of versions of the vault that it begins with and is taught by; deleting one deletes the key too. */
  parent?: string;
  teacher?: string;
  /** The adapter in the vault, by name, or the file that it makes. */
  makes: { adapter: string } | { file: string };
  /** Of several runs that make the same. */
  run?: string;
}

function idOf({ datasets = [], makes, run }: RunPurpose): string {
  const from = datasets.length > 0 ? datasets.join('+') : '-';
  if (run !== undefined) return `${from} run ${run}`;
  return `${from} ${'adapter' in makes ? `adapter ${makes.adapter}` : `file ${makes.file}`}`;
}

export class RunKeys {
  constructor(private readonly documents: DocumentStore) {}

  /** The key of a run, made when first asked for. */
  async get(purpose: RunPurpose): Promise<Buffer> {
    const of = [...(purpose.datasets ?? []), purpose.parent, purpose.teacher].filter((id) => id !== undefined);
    const key = await this.documents.change(KIND, idOf(purpose), (known) => known ?? randomBytes(KEY_BYTES), of);
    return Buffer.from(key);
  }

  async forget(purpose: RunPurpose): Promise<void> {
    await this.documents.delete(KIND, idOf(purpose));
  }

  /**
   * Removes the folders whose key is gone: nobody can read them, and nothing can be resumed from them. One that a run still has stays
   * until that has ended.
   */
  async removeStray(home: string): Promise<void> {
    // The folders first: one that another run makes meanwhile is not among them.
    const folders = await sealedFolders(home);
    const keys = await Promise.all(this.documents.list(KIND).map(({ id }) => this.documents.get(KIND, id)));
    const kept = new Set(keys.flatMap((key) => (key ? [sealedFolder(home, key)] : [])));
    for (const path of folders) {
      if (kept.has(path)) continue;
      // On a full disk there is no room for a lock, and all the more for removing.
      const lock = await tryLock(runLock(path)).catch(() => undefined);
      if (lock && !('release' in lock)) continue;
      await rm(path, removal);
      await lock?.release();
    }
  }
}

/** Held by the process that has the folder of a run. */
export function runLock(folder: string): string {
  return join(folder, 'run.lock');
}

/** The folder that belongs to a key, and tells nothing of it. */
export function sealedFolder(home: string, key: Uint8Array): string {
  const name = createHash('sha256').update('run folder ').update(key).digest('hex').slice(0, 24);
  return join(home, 'runs', `${PREFIX}${name}`);
}

/** A run that is just being ended may still write there. */
const removal = { recursive: true, force: true, maxRetries: 10, retryDelay: 50 } as const;

async function sealedFolders(home: string): Promise<string[]> {
  const runs = join(home, 'runs');
  const names = await readdir(runs).catch((): string[] => []);
  return names.filter((name) => name.startsWith(PREFIX)).map((name) => join(runs, name));
}

/** Removes the folders of all runs on a vault that is gone. */
export async function removeSealedFolders(home: string): Promise<void> {
  for (const path of await sealedFolders(home)) await rm(path, removal);
}
