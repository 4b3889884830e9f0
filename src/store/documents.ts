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
