import { createHash, randomBytes } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { KEY_BYTES } from '../base/crypto.js';
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
  /** Id of the data set it learns from, if that lies in the vault: deleting it deletes the key. */
  dataset?: string;
  /** The adapter in the vault, by name, or the file that it makes. */
  makes: { adapter: string } | { file: string };
}

function idOf({ dataset, makes }: RunPurpose): string {
  return `${dataset ?? '-'} ${'adapter' in makes ? `adapter ${makes.adapter}` : `file ${makes.file}`}`;
}

/** Whether a document is the key of a run on this data set. */
export function isRunKeyOf(datasetId: string, document: { kind: string; id: string }): boolean {
  return document.kind === KIND && document.id.startsWith(`${datasetId} `);
}

export class RunKeys {
  constructor(private readonly documents: DocumentStore) {}

  /** The key of a run, made when first asked for. */
  async get(purpose: RunPurpose): Promise<Buffer> {
    const known = await this.documents.get(KIND, idOf(purpose));
    if (known) return Buffer.from(known);
    const key = randomBytes(KEY_BYTES);
    await this.documents.put(KIND, idOf(purpose), key);
    return key;
  }

  async forget(purpose: RunPurpose): Promise<void> {
    await this.documents.delete(KIND, idOf(purpose));
  }

  /** Removes the folders whose key is gone: nobody can read them, and nothing can be resumed from them. */
  async removeStray(home: string): Promise<void> {
    const keys = await Promise.all(this.documents.list(KIND).map(({ id }) => this.documents.get(KIND, id)));
    const kept = keys.flatMap((key) => (key ? [sealedFolder(home, key)] : []));
    await removeSealedFolders(home, new Set(kept));
  }
}

/** The folder that belongs to a key, and tells nothing of it. */
export function sealedFolder(home: string, key: Uint8Array): string {
  const name = createHash('sha256').update('run folder ').update(key).digest('hex').slice(0, 24);
  return join(home, 'runs', `${PREFIX}${name}`);
}

/** @param kept paths of those that stay */
export async function removeSealedFolders(home: string, kept: ReadonlySet<string> = new Set()): Promise<void> {
  const runs = join(home, 'runs');
  for (const name of await readdir(runs).catch((): string[] => [])) {
    const path = join(runs, name);
    if (name.startsWith(PREFIX) && !kept.has(path)) await rm(path, { recursive: true, force: true });
  }
}
