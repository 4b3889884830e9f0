import { newId } from './ids.js';
import type { DocumentInfo } from './types.js';
import type { VaultContext } from './vaultContext.js';
import type { Entry } from './vaultIndex.js';

/** Small things of other parts: conversations, feedback, settings, records of jobs. Kinds and ids are hidden like the content. */
export class DocumentStore {
  constructor(private readonly context: VaultContext) {}

  /** New or in the place of the one of that kind and id, whose content is destroyed with the next deletion. */
  async put(kind: string, id: string, bytes: Uint8Array): Promise<DocumentInfo> {
    return await this.context.store(bytes, (blob) => {
      const value: DocumentInfo = { kind, id, bytes: bytes.length, changedAt: new Date().toISOString() };
      const entry: Entry = { id: this.find(kind, id)?.id ?? newId(), type: 'document', blob, value };
      return { change: { put: [entry] }, result: value };
    });
  }

  /** Undefined where there is none. */
  async get(kind: string, id: string): Promise<Uint8Array | undefined> {
    // Another process may replace it between the look into the index and the opening of its file.
    for (let attempt = 1; ; attempt++) {
      const entry = this.find(kind, id);
      if (!entry) return undefined;
      try {
        return await this.context.content(entry, (entry.value as DocumentInfo).bytes, `a document of kind "${kind}"`);
      } catch (error) {
        if (attempt === 3 || this.find(kind, id)?.blob?.name === entry.blob?.name) throw error;
      }
    }
  }

  /** By time of the last change, oldest first; all kinds where none is given. */
  list(kind?: string): DocumentInfo[] {
    return this.context.index
      .all('document')
      .map(({ value }) => value as DocumentInfo)
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
    return await this.context.store(undefined, () => {
      const found = this.context.index.all('document').filter(({ value }) => which(value as DocumentInfo));
      const remove = found.map(({ id }) => id);
      return { change: { remove, forget: remove.length > 0 }, result: remove.length > 0 };
    });
  }

  private find(kind: string, id: string): Entry | undefined {
    return this.context.index.all('document').find(({ value }) => {
      const info = value as DocumentInfo;
      return info.kind === kind && info.id === id;
    });
  }
}
