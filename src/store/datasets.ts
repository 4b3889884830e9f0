import { LoamError } from '../base/errors.js';
import type { Dataset, NamedBytes } from '../examples/example.js';
import { loadDataset } from '../examples/loadDataset.js';
import type { AdapterStore } from './adapters.js';
import type { Contents } from './contents.js';
import { isRunKeyOf } from './documents.js';
import type { Entry } from './indexContent.js';
import { type AdapterVersion, checkName, type DatasetInfo, type DocumentInfo, type Json, newId } from './types.js';

type Value = Omit<DatasetInfo, 'id'>;

/** The user's data sets. */
export class DatasetStore {
  constructor(
    private readonly contents: Contents,
    private readonly adapters: AdapterStore,
  ) {}

  /** By time of adding, oldest first. */
  list(): DatasetInfo[] {
    return this.contents.index
      .all('dataset')
      .map(toInfo)
      .sort((a, b) => a.createdAt.localeCompare(b.createdAt) || a.id.localeCompare(b.id));
  }

  get(id: string): DatasetInfo {
    return toInfo(this.entry(id));
  }

  /**
   * Keeps an example file, in any format that is read, as it is.
   * @param more.file its name, where `name` has no ending that says what it is
   * @throws the errors of `loadDataset`, such as NoExamplesError; LoamError where a data set of that name exists
   */
  async add(name: string, bytes: Uint8Array, more: { findings?: Json; file?: string } = {}): Promise<DatasetInfo> {
    checkName(name, 'a data set');
    const facts = await factsOf(more.file ?? name, bytes);
    const now = new Date().toISOString();
    const value: Value = { name, createdAt: now, changedAt: now, ...facts, excluded: [], findings: more.findings };
    const id = newId();
    return await this.contents.store(bytes, (blob) => {
      this.requireFree(name);
      return { change: { put: [{ id, type: 'dataset', blob, value }] }, result: { id, ...value } };
    });
  }

  /** The bytes as they were added. */
  async read(id: string): Promise<Uint8Array> {
    const entry = this.entry(id);
    const { bytes, name } = toInfo(entry);
    return await this.contents.read(entry, bytes, `the data set "${name}"`);
  }

  /** The examples to learn from: without the excluded records. */
  async load(id: string, options: { signal?: AbortSignal } = {}): Promise<Dataset> {
    return await loadDataset(await this.source(id), options);
  }

  /** The same before it is read. */
  async source(id: string): Promise<NamedBytes> {
    const { name, excluded, container } = this.get(id);
    return { name: `vault:${name}`, bytes: await this.read(id), excluded, container };
  }

  /** An edited data set: the earlier content is destroyed. What was excluded is included again unless `more` says otherwise. */
  async replace(
    id: string,
    bytes: Uint8Array,
    more: { findings?: Json; excluded?: readonly number[] } = {},
  ): Promise<DatasetInfo> {
    const facts = await factsOf(this.get(id).name, bytes);
    return await this.contents.store(bytes, (blob) => {
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
    await this.contents.store(undefined, () => {
      this.entry(id);
      const versions = withAdapters ? this.dependents(id).map((version) => version.id) : [];
      const { put, remove } = this.adapters.withoutVersions(versions);
      const keys = this.contents.index
        .all('document')
        .filter(({ value }) => isRunKeyOf(id, value as DocumentInfo))
        .map((entry) => entry.id);
      return { change: { put, remove: [id, ...remove, ...keys], forget: true }, result: undefined };
    });
  }

  private async change(id: string, decide: (old: DatasetInfo) => Partial<Value>): Promise<DatasetInfo> {
    return await this.contents.store(undefined, () => {
      const entry = this.entry(id);
      const old = toInfo(entry);
      const value: Value = { ...without(old), ...decide(old) };
      return { change: { put: [{ ...entry, value }] }, result: { id, ...value } };
    });
  }

  private entry(id: string): Entry {
    const entry = this.contents.index.get(id);
    if (entry?.type !== 'dataset')
      throw new LoamError({
        code: 'not-found',
        found: 'there is no such data set in the vault',
        fix: 'see loam data list',
      });
    return entry;
  }

  private requireFree(name: string): void {
    if (!this.list().some((other) => other.name === name)) return;
    throw new LoamError({
      code: 'exists',
      found: `there is already a data set "${name}" in the vault`,
      fix: 'choose another name, or delete that one first',
    });
  }
}

async function factsOf(name: string, bytes: Uint8Array) {
  const { examples, records, sha256, format } = await loadDataset({ name, bytes });
  return { bytes: bytes.length, sha256, container: format.container, examples: examples.length, records };
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
