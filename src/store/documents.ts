import { randomBytes } from 'node:crypto';
import { KEY_BYTES } from '../base/crypto.js';
import { type Contents, type Row, Table } from './contents.js';
import type { DocumentInfo } from './types.js';

/** Small things of other rooms: conversations, feedback, settings, records of jobs. Kinds and ids are hidden like the content. */
export class DocumentStore {
  private readonly documents: Table<DocumentInfo>;

  constructor(private readonly contents: Contents) {
    this.documents = new Table(contents, 'document', { one: 'document', list: 'loam vault status' });
  }

  /** New or in the place of the one of that kind and id, whose content is destroyed with the next deletion. */
  async put(kind: string, id: string, bytes: Uint8Array): Promise<DocumentInfo> {
    return await this.contents.store(bytes, (blob) => {
      const value: DocumentInfo = { kind, id, bytes: bytes.length, changedAt: new Date().toISOString() };
      const row = this.documents.row(value, { id: this.find(kind, id)?.id, blob });
      return { change: { put: [row] }, result: value };
    });
  }

  /** Undefined if there is none. */
  async get(kind: string, id: string): Promise<Uint8Array | undefined> {
    // Another process may replace it between the look into the index and the opening of its file.
    for (let attempt = 1; ; attempt++) {
      const row = this.find(kind, id);
      if (!row) return undefined;
      try {
        return await this.contents.read(row, row.value.bytes, `a document of kind "${kind}"`);
      } catch (error) {
        if (attempt === 3 || this.find(kind, id)?.blob?.name === row.blob?.name) throw error;
      }
    }
  }

  /** By time of the last change, oldest first; all kinds if none is given. */
  list(kind?: string): DocumentInfo[] {
    return this.documents
      .all()
      .map(({ value }) => value)
      .filter((info) => kind === undefined || info.kind === kind)
      .sort((a, b) => a.changedAt.localeCompare(b.changedAt) || a.id.localeCompare(b.id));
  }

  /** Destroys the key of the content. @returns whether there was one */
  async delete(kind: string, id: string): Promise<boolean> {
    return await this.remove((info) => info.kind === kind && info.id === id);
  }

  /** All of a kind at once. */
  async deleteKind(kind: string): Promise<boolean> {
    return await this.remove((info) => info.kind === kind);
  }

  private async remove(which: (info: DocumentInfo) => boolean): Promise<boolean> {
    return await this.contents.store(undefined, () => {
      const found = this.documents.all().filter(({ value }) => which(value));
      const remove = found.map(({ id }) => id);
      return { change: { remove, forget: remove.length > 0 }, result: remove.length > 0 };
    });
  }

  private find(kind: string, id: string): Row<DocumentInfo> | undefined {
    return this.documents.find((info) => info.kind === kind && info.id === id);
  }
}

/** Kind of the documents that are keys. */
const RUN_KEYS = 'run-key';

/** Which run a key belongs to. */
interface RunPurpose {
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
