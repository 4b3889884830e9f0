import { LoamError } from '../base/errors.js';
import type { Dataset } from '../examples/example.js';
import { loadDataset } from '../examples/loadDataset.js';
import type { AdapterStore } from './adapters.js';
import type { VaultContext } from './indexImage.js';
import { isRunKeyOf } from './keys.js';
import { type AdapterVersion, checkName, type DatasetInfo, type DocumentInfo, type Json, newId } from './types.js';
import type { Entry } from './vaultIndex.js';

type Value = Omit<DatasetInfo, 'id'>;

/** The user's data sets. */
export class DatasetStore {
  constructor(
    private readonly context: VaultContext,
    private readonly adapters: AdapterStore,
  ) {}

  /** By time of adding, oldest first. */
  list(): DatasetInfo[] {
    return this.context.index
      .all('dataset')
      .map(toInfo)
      .sort((a, b) => a.createdAt.localeCompare(b.createdAt) || a.id.localeCompare(b.id));
  }

  get(id: string): DatasetInfo {
    return toInfo(this.entry(id));
  }

  /**
   * Keeps an example file, in any format that `data/` reads, as it is.
   * @throws the errors of `loadDataset`, such as NoExamplesError; LoamError where a data set of that name exists
   */
  async add(name: string, bytes: Uint8Array, more: { findings?: Json } = {}): Promise<DatasetInfo> {
    checkName(name, 'a data set');
    const facts = await factsOf(name, bytes);
    const now = new Date().toISOString();
    const value: Value = { name, createdAt: now, changedAt: now, ...facts, excluded: [], findings: more.findings };
    const id = newId();
    return await this.context.store(bytes, (blob) => {
      this.requireFree(name);
      return { change: { put: [{ id, type: 'dataset', blob, value }] }, result: { id, ...value } };
    });
  }

  /** The bytes as they were added. */
  async read(id: string): Promise<Uint8Array> {
    const entry = this.entry(id);
    const { bytes, name } = toInfo(entry);
    return await this.context.content(entry, bytes, `the data set "${name}"`);
  }

  /** The examples to learn from: without the excluded records. */
  async load(id: string, options: { signal?: AbortSignal } = {}): Promise<Dataset> {
    const { name, excluded } = this.get(id);
    return await loadDataset({ name: `vault:${name}`, bytes: await this.read(id), excluded }, options);
  }

  /** An edited data set: the earlier content is destroyed. What was excluded is included again unless `more` says otherwise. */
  async replace(
    id: string,
    bytes: Uint8Array,
    more: { findings?: Json; excluded?: readonly number[] } = {},
  ): Promise<DatasetInfo> {
    const facts = await factsOf(this.get(id).name, bytes);
    return await this.context.store(bytes, (blob) => {
      const old = this.get(id);
      const value: Value = {
        ...without(old),
        ...facts,
        changedAt: new Date().toISOString(),
        excluded: ascending(more.excluded ?? []),
        findings: more.findings,
      };
      return { change: { put: [{ id, type: 'dataset', blob, value }], forget: true }, result: { id, ...value } };
    });
  }

  async rename(id: string, name: string): Promise<DatasetInfo> {
    checkName(name, 'a data set');
    return await this.change(id, (old) => {
      if (old.name !== name) this.requireFree(name);
      return { name };
    });
  }

  /** What is known about a data set beside its content. */
  async annotate(id: string, more: { excluded?: readonly number[]; findings?: Json }): Promise<DatasetInfo> {
    return await this.change(id, () => ({
      ...(more.excluded && { excluded: ascending(more.excluded) }),
      ...(more.findings !== undefined && { findings: more.findings }),
    }));
  }

  /** Adapter versions that have learnt from it, or that began with one that had. */
  dependents(id: string): AdapterVersion[] {
    return this.adapters.dependentsOf(id);
  }

  /**
   * Destroys the key of the content, and those of what stopped runs on it have left; with `withAdapters` that of every dependent
   * version too. All at once.
   */
  async delete(id: string, { withAdapters = false } = {}): Promise<void> {
    await this.context.store(undefined, () => {
      this.entry(id);
      const versions = withAdapters ? this.dependents(id).map((version) => version.id) : [];
      const { put, remove } = this.adapters.withoutVersions(versions);
      const keys = this.context.index
        .all('document')
        .filter(({ value }) => isRunKeyOf(id, value as DocumentInfo))
        .map((entry) => entry.id);
      return { change: { put, remove: [id, ...remove, ...keys], forget: true }, result: undefined };
    });
  }

  private async change(id: string, decide: (old: DatasetInfo) => Partial<Value>): Promise<DatasetInfo> {
    return await this.context.store(undefined, () => {
      const entry = this.entry(id);
      const old = toInfo(entry);
      const value: Value = { ...without(old), ...decide(old) };
      return { change: { put: [{ ...entry, value }] }, result: { id, ...value } };
    });
  }

  private entry(id: string): Entry {
    const entry = this.context.index.get(id);
    if (entry?.type !== 'dataset')
      throw new LoamError({ found: 'there is no such data set in the vault', fix: 'see loam data list' });
    return entry;
  }

  private requireFree(name: string): void {
    if (!this.list().some((other) => other.name === name)) return;
    throw new LoamError({
      found: `there is already a data set "${name}" in the vault`,
      fix: 'choose another name, or delete that one first',
    });
  }
}

async function factsOf(name: string, bytes: Uint8Array) {
  const { examples, records, sha256 } = await loadDataset({ name, bytes });
  return { bytes: bytes.length, sha256, examples: examples.length, records };
}

function toInfo(entry: Entry): DatasetInfo {
  return { ...(entry.value as Value), id: entry.id };
}

function without({ id: _, ...value }: DatasetInfo): Value {
  return value;
}

function ascending(numbers: readonly number[]): number[] {
  return [...new Set(numbers)].sort((a, b) => a - b);
}

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
