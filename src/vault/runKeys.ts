import { randomBytes } from 'node:crypto';
import { KEY_BYTES } from '../util/seal.js';
import type { DocumentStore } from './documents.js';

/** Kind of the documents that are keys. */
export const RUN_KEYS = 'run-key';

/** Which run a key belongs to. */
export interface RunPurpose {
  /** Id of the data set it learns from, if that lies in the vault: deleting it deletes the key. */
  dataset?: string;
  run: string;
}

/** Keys for what lies outside the vault and belongs to it: the checkpoints of runs. Without its key such a file is noise. */
export class RunKeys {
  constructor(private readonly documents: DocumentStore) {}

  /** The key of a run, made when first asked for. */
  async get(purpose: RunPurpose): Promise<Buffer> {
    const known = await this.documents.get(RUN_KEYS, idOf(purpose));
    if (known) return Buffer.from(known);
    const key = randomBytes(KEY_BYTES);
    await this.documents.put(RUN_KEYS, idOf(purpose), key);
    return key;
  }

  async all(): Promise<Buffer[]> {
    const keys = await Promise.all(this.documents.list(RUN_KEYS).map(({ id }) => this.documents.get(RUN_KEYS, id)));
    return keys.flatMap((key) => (key ? [Buffer.from(key)] : []));
  }

  async forget(purpose: RunPurpose): Promise<void> {
    await this.documents.delete(RUN_KEYS, idOf(purpose));
  }
}

function idOf({ dataset, run }: RunPurpose): string {
  return `${dataset ?? '-'} ${run}`;
}

/** Whether a document is the key of a run on this data set. */
export function isRunKeyOf(datasetId: string, document: { kind: string; id: string }): boolean {
  return document.kind === RUN_KEYS && document.id.startsWith(`${datasetId} `);
}
