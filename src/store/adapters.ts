import { LoamError } from '../base/errors.js';
import { type MemoryFile, memoryFile } from '../engine/memory.js';
import { type Contents, infoOf, type Row, Table } from './contents.js';
import type { EntryChange, EntryType } from './indexContent.js';
import {
  type Adapter,
  type AdapterVersion,
  checkName,
  type Lineage,
  newId,
  type RunOfVersion,
  sha256Of,
} from './types.js';

/** `next`: number of the next version, so that none is given twice. */
type AdapterValue = Omit<Adapter, 'id' | 'versions'> & { next: number };
type VersionValue = Omit<AdapterVersion, 'id'>;

/** The user's adapters, each with its versions. */
export class AdapterStore {
  private readonly adapters: Table<AdapterValue>;
  private readonly versions: Table<VersionValue>;

  constructor(private readonly contents: Contents) {
    const list = 'loam adapters list';
    this.adapters = new Table(contents, 'adapter', { one: 'adapter', list });
    this.versions = new Table(contents, 'version', { one: 'version', list });
  }

  /** By name. */
  list(): Adapter[] {
    const versions = this.versions.all();
    return this.adapters
      .all()
      .map((row) => toAdapter(row, versions))
      .sort((a, b) => a.name.localeCompare(b.name));
  }

  get(id: string): Adapter {
    return toAdapter(this.adapters.get(id), this.versions.all());
  }

  version(versionId: string): AdapterVersion {
    return infoOf(this.versions.get(versionId));
  }

  /**
   * Adds a version to the adapter of this name, or to a new one. The new version is in use from then on, unless `activate` is false.
   * What `run` has made already is there once: that version is given back, and nothing changes.
   * @throws LoamError: mismatch, if the adapter belongs to another base model; conflict, if what it has learnt from was deleted
   */
  async addVersion(
    name: string,
    bytes: Uint8Array,
    lineage: Lineage,
    { note = '', activate = true, run }: { note?: string; activate?: boolean; run?: RunOfVersion } = {},
  ): Promise<AdapterVersion> {
    checkName(name, 'an adapter');
    const sha256 = sha256Of(bytes);
    return await this.contents.store(bytes, (blob) => {
      const known = run && this.madeBy(run.id).find((version) => isSame(version, { run, sha256 }));
      if (known) return { change: {}, result: known };
      this.requireSources(lineage);
      const createdAt = new Date().toISOString();
      const old = this.fitting(name, lineage.base);
      const id = old?.id ?? newId();
      const before: AdapterValue = old?.value ?? { name, createdAt, model: lineage.base, active: null, next: 1 };
      const number = before.next;
      const version = this.versions.row(
        { adapter: id, number, createdAt, bytes: bytes.length, sha256, lineage, run, note },
        { blob },
      );
      const active = activate ? version.id : before.active;
      const adapter = this.adapters.row({ ...before, active, next: number + 1 }, { id });
      return { change: { put: [adapter, version] }, result: infoOf(version) };
    });
  }

  /** What a run has made, oldest first. */
  madeBy(run: string): AdapterVersion[] {
    const made = this.versions.all().filter(({ value }) => value.run?.id === run);
    return made.map(infoOf).sort((a, b) => a.number - b.number);
  }

  /** @throws LoamError: mismatch, if an adapter of this name belongs to another base model */
  requireFits(name: string, base: Lineage['base']): void {
    checkName(name, 'an adapter');
    this.fitting(name, base);
  }

  private fitting(name: string, base: Lineage['base']): Row<AdapterValue> | undefined {
    const found = this.adapters.find((value) => value.name === name);
    if (found === undefined || found.value.model.sha256 === base.sha256) return found;
    throw new LoamError({
      code: 'mismatch',
      found: `the adapter "${name}" belongs to the base model ${found.value.model.name}`,
      expected: `${base.name}, which this version was made for`,
      fix: 'keep it under another name',
    });
  }

  /**
   * Training takes long, and whoever deletes something meanwhile wants what was learnt from it gone too.
   * @throws LoamError: conflict, unless all that lineage names in the vault is there
   */
  requireSources({ datasets, parent, teacher }: Pick<Lineage, 'datasets' | 'parent' | 'teacher'>): void {
    const is = (id: string | undefined, type: EntryType) =>
      id === undefined || this.contents.index.get(id)?.type === type;
    const gone = !datasets.every(({ id }) => is(id, 'dataset'))
      ? 'a data set that it has learnt from'
      : !is(parent, 'version') || !is(teacher, 'version')
        ? 'a version that it began with or was taught by'
        : undefined;
    if (gone === undefined) return;
    throw new LoamError({ code: 'conflict', found: `${gone} was deleted meanwhile, so the adapter was not kept` });
  }

  /** Chooses the version in use; null is the base model alone. Going back is choosing an earlier one. */
  async use(id: string, versionId: string | null): Promise<Adapter> {
    return await this.changeAdapter(id, () => {
      if (versionId !== null && this.version(versionId).adapter !== id) {
        throw new LoamError({
          code: 'conflict',
          found: 'this version belongs to another adapter',
          fix: 'see loam adapters list',
        });
      }
      return { active: versionId };
    });
  }

  async rename(id: string, name: string): Promise<Adapter> {
    checkName(name, 'an adapter');
    return await this.changeAdapter(id, () => {
      const other = this.adapters.find((value) => value.name === name);
      if (other && other.id !== id)
        throw new LoamError({ code: 'exists', found: `there is already an adapter "${name}" in the vault` });
      return { name };
    });
  }

  private async changeAdapter(id: string, decide: () => Partial<AdapterValue>): Promise<Adapter> {
    return toAdapter(await this.adapters.change(id, decide), this.versions.all());
  }

  /** What is known of a version beside its content. */
  async annotate(
    versionId: string,
    more: Partial<Pick<AdapterVersion, 'note' | 'memorised'>>,
  ): Promise<AdapterVersion> {
    return infoOf(await this.versions.change(versionId, () => more));
  }

  /** The adapter file (GGUF). */
  async read(versionId: string): Promise<Uint8Array> {
    const row = this.versions.get(versionId);
    const { bytes, number, adapter } = row.value;
    const title = this.adapters.all().find(({ id }) => id === adapter)?.value.name ?? 'of an unknown adapter';
    return await this.contents.read(row, bytes, `version ${number} of "${title}"`);
  }

  /**
   * A path under which libllama can read it, without it being written to a disk if the system allows that (see `memoryFile`). Dispose of
   * it once the adapter is loaded.
   */
  async openForInference(versionId: string): Promise<MemoryFile> {
    return await memoryFile(await this.read(versionId));
  }

  /** Destroys the key of a version. If it was in use, the base model alone is from then on. */
  async deleteVersion(versionId: string): Promise<void> {
    await this.contents.store(undefined, () => {
      this.version(versionId);
      const { put, remove } = this.withoutVersions([versionId]);
      return { change: { put, remove: this.contents.withDependent(remove), forget: true }, result: undefined };
    });
  }

  /** Destroys the keys of all its versions. */
  async delete(id: string): Promise<void> {
    await this.contents.store(undefined, () => {
      const { versions } = this.get(id);
      const remove = this.contents.withDependent([id, ...versions.map((version) => version.id)]);
      return { change: { remove, forget: true }, result: undefined };
    });
  }

  /** Versions that have learnt from a data set, or from a version that had, oldest first. */
  dependentsOf(datasetId: string): AdapterVersion[] {
    const all = this.versions
      .all()
      .map(infoOf)
      .sort((a, b) => a.createdAt.localeCompare(b.createdAt) || a.number - b.number);
    const found = new Set<string>();
    for (let before = -1; before < found.size; ) {
      before = found.size;
      for (const { id, lineage } of all) {
        const { parent, teacher, datasets } = lineage;
        const learnt = datasets.some((data) => data.id === datasetId);
        if (learnt || found.has(parent ?? '') || found.has(teacher ?? '')) found.add(id);
      }
    }
    return all.filter(({ id }) => found.has(id));
  }

  /** What removing versions changes: an adapter that loses its last one goes too. */
  withoutVersions(versionIds: readonly string[]): Required<EntryChange> {
    const gone = new Set(versionIds);
    const put: Row<AdapterValue>[] = [];
    const remove = [...versionIds];
    for (const row of this.adapters.all()) {
      const { versions, active } = toAdapter(row, this.versions.all());
      if (!versions.some(({ id }) => gone.has(id))) continue;
      if (versions.every(({ id }) => gone.has(id))) remove.push(row.id);
      else if (active !== null && gone.has(active)) put.push({ ...row, value: { ...row.value, active: null } });
    }
    return { put, remove };
  }
}

/** A run ends once; stopped, it may have come to several states. */
function isSame(version: AdapterVersion, made: { run: RunOfVersion; sha256: string }): boolean {
  if (version.run?.ended !== made.run.ended) return false;
  return made.run.ended || version.sha256 === made.sha256;
}

function toAdapter({ id, value }: Row<AdapterValue>, rows: readonly Row<VersionValue>[]): Adapter {
  const { name, createdAt, model, active } = value;
  const versions = rows
    .filter((row) => row.value.adapter === id)
    .map(infoOf)
    .sort((a, b) => b.number - a.number);
  // A version whose entry was lost to damage cannot be in use.
  return { id, name, createdAt, model, versions, active: versions.some((v) => v.id === active) ? active : null };
}
