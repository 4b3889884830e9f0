import { LoamError } from '../base/errors.js';
import { withoutMedia } from '../examples/chatArchive.js';
import type { Dataset, NamedBytes } from '../examples/example.js';
import { loadDataset } from '../examples/loadDataset.js';
import type { AdapterStore } from './adapters.js';
import { type Contents, infoOf, Table } from './contents.js';
import { type AdapterVersion, checkName, type DatasetInfo, type Json } from './types.js';

type Value = Omit<DatasetInfo, 'id'>;

/** What a change was decided by: if that is no longer so, the change is refused. */
type Seen = Pick<DatasetInfo, 'sha256'> & Partial<Pick<DatasetInfo, 'excluded'>>;

/** The user's data sets. */
export class DatasetStore {
  private readonly datasets: Table<Value>;

  constructor(
    private readonly contents: Contents,
    private readonly adapters: AdapterStore,
  ) {
    this.datasets = new Table(contents, 'dataset', { one: 'data set', list: 'loam data list' });
  }

  /** By time of adding, oldest first. */
  list(): DatasetInfo[] {
    return this.datasets
      .all()
      .map(infoOf)
      .sort((a, b) => a.createdAt.localeCompare(b.createdAt) || a.id.localeCompare(b.id));
  }

  get(id: string): DatasetInfo {
    return infoOf(this.datasets.get(id));
  }

  /**
   * Keeps an example file, in any format that is read, as it is; of a messenger's archive the chat alone.
   * @param more.file its name, if `name` has no ending that says what it is
   * @throws the errors of `loadDataset`; LoamError: exists, if a data set has that name
   */
  async add(
    name: string,
    given: Uint8Array,
    more: { findings?: Json; file?: string; columns?: string } = {},
  ): Promise<DatasetInfo> {
    checkName(name, 'a data set');
    // Before a long file is read in vain, and again when it is stored.
    this.requireFree(name);
    const file = more.file ?? name;
    const bytes = await withoutMedia(given, file);
    const facts = await factsOf(file, bytes, more.columns);
    const now = new Date().toISOString();
    const value: Value = { name, createdAt: now, changedAt: now, ...facts, excluded: [], findings: more.findings };
    return await this.contents.store(bytes, (blob) => {
      this.requireFree(name);
      const row = this.datasets.row(value, { blob });
      return { change: { put: [row] }, result: infoOf(row) };
    });
  }

  /** The bytes as they were added. */
  async read(id: string): Promise<Uint8Array> {
    const row = this.datasets.get(id);
    const { bytes, name } = row.value;
    return await this.contents.read(row, bytes, `the data set "${name}"`);
  }

  /** The examples to learn from: without the excluded records. */
  async load(id: string, options: { signal?: AbortSignal } = {}): Promise<Dataset> {
    return await loadDataset(await this.source(id), options);
  }

  /** The same before it is read. */
  async source(id: string): Promise<NamedBytes> {
    const { name, excluded, container, columns } = this.get(id);
    return { name: `vault:${name}`, bytes: await this.read(id), excluded, container, columns };
  }

  /**
   * An edited data set: the earlier content is destroyed. What was excluded is included again unless `more` says otherwise.
   * @throws LoamError: changed, if it is not what was seen; exists, if another one has the new name
   */
  async replace(
    id: string,
    bytes: Uint8Array,
    more: { name?: string; findings?: Json; excluded?: readonly number[]; seen?: Seen } = {},
  ): Promise<DatasetInfo> {
    const facts = await factsOf(this.get(id).name, bytes);
    return await this.contents.store(bytes, (blob) => {
      const old = this.datasets.get(id).value;
      requireSame(old, more.seen);
      const value: Value = {
        ...old,
        ...this.renamed(old, more.name),
        ...facts,
        changedAt: new Date().toISOString(),
        excluded: ascending(more.excluded ?? []),
        findings: more.findings,
      };
      const row = this.datasets.row(value, { id, blob });
      return { change: { put: [row], forget: true }, result: infoOf(row) };
    });
  }

  async rename(id: string, name: string): Promise<DatasetInfo> {
    return await this.annotate(id, { name });
  }

  private renamed(old: Value, name: string | undefined): Partial<Value> {
    if (name === undefined || name === old.name) return {};
    checkName(name, 'a data set');
    this.requireFree(name);
    return { name };
  }

  /**
   * Its name, and what is known about it beside its content.
   * @throws LoamError: changed, if it is not what was seen; exists, if another one has the name
   */
  async annotate(
    id: string,
    more: { name?: string; excluded?: readonly number[]; findings?: Json; seen?: Seen },
  ): Promise<DatasetInfo> {
    return infoOf(
      await this.datasets.change(id, (old) => {
        requireSame(old, more.seen);
        return {
          ...this.renamed(old, more.name),
          ...(more.excluded && { excluded: ascending(more.excluded) }),
          ...(more.findings !== undefined && { findings: more.findings }),
        };
      }),
    );
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
      this.get(id);
      const versions = withAdapters ? this.dependents(id).map((version) => version.id) : [];
      const { put, remove } = this.adapters.withoutVersions(versions);
      return {
        change: { put, remove: this.contents.withDependent([id, ...remove]), forget: true },
        result: undefined,
      };
    });
  }

  private requireFree(name: string): void {
    if (!this.datasets.find((value) => value.name === name)) return;
    throw new LoamError({
      code: 'exists',
      found: `there is already a data set "${name}" in the vault`,
      fix: 'choose another name, or delete that one first',
    });
  }
}

async function factsOf(name: string, bytes: Uint8Array, columns?: string) {
  const { examples, records, sha256, format } = await loadDataset({ name, bytes, columns });
  return { bytes: bytes.length, sha256, container: format.container, columns, examples: examples.length, records };
}

function requireSame(now: Value, seen: Seen | undefined): void {
  const { sha256 = now.sha256, excluded = now.excluded } = seen ?? {};
  if (now.sha256 === sha256 && `${ascending(excluded)}` === `${now.excluded}`) return;
  throw new LoamError({ code: 'changed', found: 'the data set has changed in the meantime', fix: 'load it again' });
}

function ascending(numbers: readonly number[]): number[] {
  return [...new Set(numbers)].sort((a, b) => a - b);
}
