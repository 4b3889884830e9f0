import { LoamError } from '../base/errors.js';
import { type Contents, type Row, Table } from './contents.js';
import type { DocumentInfo } from './types.js';

/** A document that holds JSON. */
export const jsonDocument = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

/** What such a document says, written by this program and sealed since. */
export const jsonOf = <T>(document: Uint8Array): T => JSON.parse(Buffer.from(document).toString('utf8')) as T;

/** Small things of other rooms: conversations, feedback, settings, records of jobs. Kinds and ids are hidden like the content. */
export class DocumentStore {
  private readonly documents: Table<DocumentInfo>;

  constructor(private readonly contents: Contents) {
    this.documents = new Table(contents, 'document', { one: 'document', list: 'loam vault status' });
  }

  /** New or in the place of the one of that kind and id, whose content is destroyed with the next deletion. */
  async put(kind: string, id: string, bytes: Uint8Array): Promise<DocumentInfo> {
    return await this.contents.store(bytes, (blob) => {
      const row = this.documents.row(infoOf(kind, id, bytes), { id: this.find(kind, id)?.id, blob });
      return { change: { put: [row] }, result: row.value };
    });
  }

  /**
   * Changes one by what it is at that moment: nobody else writes between the reading and the writing.
   * @param decide gets the content, undefined if there is none; if it returns that, nothing is written
   * @param of ids of what it belongs to, besides those that it had
   * @returns the content afterwards
   * @throws LoamError: conflict, if one of `of` is not there
   */
  async change<T extends Uint8Array | undefined>(
    kind: string,
    id: string,
    decide: (old: Uint8Array | undefined) => T,
    of: readonly string[] = [],
  ): Promise<T> {
    return await this.contents.store(undefined, async (_, encrypt) => {
      if (!of.every((source) => this.contents.index.get(source))) {
        throw new LoamError({ code: 'conflict', found: 'what is worked on was deleted meanwhile' });
      }
      const old = this.find(kind, id);
      const before = old && (await this.read(old));
      const bytes = decide(before);
      const belongs = [...new Set([...(old?.value.of ?? []), ...of])];
      if (bytes === undefined || (bytes === before && belongs.length === (old?.value.of ?? []).length)) {
        return { change: {}, result: bytes };
      }
      const value = { ...infoOf(kind, id, bytes), ...(belongs.length > 0 && { of: belongs }) };
      const row = this.documents.row(value, { id: old?.id, blob: await encrypt(bytes) });
      return { change: { put: [row] }, result: bytes };
    });
  }

  private async read(row: Row<DocumentInfo>): Promise<Uint8Array> {
    return await this.contents.read(row, row.value.bytes, `a document of kind "${row.value.kind}"`);
  }

  /** Undefined if there is none. */
  async get(kind: string, id: string): Promise<Uint8Array | undefined> {
    // Another process may replace it between the look into the index and the opening of its file.
    for (let attempt = 1; ; attempt++) {
      const row = this.find(kind, id);
      if (!row) return undefined;
      try {
        return await this.read(row);
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

function infoOf(kind: string, id: string, { length }: Uint8Array): DocumentInfo {
  return { kind, id, bytes: length, changedAt: new Date().toISOString() };
}
