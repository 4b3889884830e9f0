import { LoamError } from '../base/errors.js';
import { type MemoryFile, memoryFile } from '../engine/memory.js';
import type { Contents } from './contents.js';
import type { Entry } from './indexContent.js';
import { type Adapter, type AdapterVersion, checkName, type Json, type Lineage, newId, sha256Of } from './types.js';

/** `next`: number of the next version, so that none is given twice. */
type AdapterValue = Omit<Adapter, 'id' | 'versions'> & { next: number };
type VersionValue = Omit<AdapterVersion, 'id'>;

/** The user's adapters, each with its versions. */
export class AdapterStore {
  constructor(private readonly contents: Contents) {}

  /** By name. */
  list(): Adapter[] {
    const versions = this.versions();
    return this.contents.index
      .all('adapter')
      .map((entry) => toAdapter(entry, versions))
      .sort((a, b) => a.name.localeCompare(b.name));
  }

  get(id: string): Adapter {
    return toAdapter(this.entry(id, 'adapter'), this.versions());
  }

  version(versionId: string): AdapterVersion {
    return toVersion(this.entry(versionId, 'version'));
  }

  /**
   * Adds a version to an adapter, or to a new one of this name; there is one adapter of a name. The new version is in use from then
   * on, unless `activate` is false.
   * @throws LoamError where the adapter belongs to another base model
   */
  async addVersion(
    target: string | { name: string; model: Adapter['model'] },
    bytes: Uint8Array,
    lineage: Lineage,
    more: { note?: string; memorised?: Json; activate?: boolean } = {},
  ): Promise<AdapterVersion> {
    if (typeof target !== 'string') checkName(target.name, 'an adapter');
    const id = newId();
    const sha256 = sha256Of(bytes);
    return await this.contents.store(bytes, (blob) => {
      const now = new Date().toISOString();
      const old = this.find(target);
      if (old && lineage.base.sha256 !== old.value.model.sha256) throw otherModel(old.value, lineage.base);
      const adapter = old?.id ?? newId();
      const base: AdapterValue = old?.value ?? {
        name: (target as { name: string }).name,
        createdAt: now,
        model: (target as { model: Adapter['model'] }).model,
        active: null,
        next: 1,
      };
      const value: VersionValue = {
        adapter,
        number: base.next,
        createdAt: now,
        bytes: bytes.length,
        sha256,
        lineage,
        note: more.note ?? '',
        memorised: more.memorised,
      };
      const active = (more.activate ?? true) ? id : base.active;
      const put: Entry[] = [
        { id: adapter, type: 'adapter', value: { ...base, active, next: base.next + 1 } satisfies AdapterValue },
        { id, type: 'version', blob, value },
      ];
      return { change: { put }, result: { id, ...value } };
    });
  }

  /** Throws LoamError where an adapter of this name belongs to another base model. */
  requireFits(name: string, base: Lineage['base']): void {
    checkName(name, 'an adapter');
    const old = this.find({ name });
    if (old && old.value.model.sha256 !== base.sha256) throw otherModel(old.value, base);
  }

  /** Chooses the version in use; null is the bare base model. Going back is choosing an earlier one. */
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
      const other = this.find({ name });
      if (other && other.id !== id)
        throw new LoamError({ code: 'exists', found: `there is already an adapter "${name}" in the vault` });
      return { name };
    });
  }

  /** The adapter file (GGUF). */
  async read(versionId: string): Promise<Uint8Array> {
    const entry = this.entry(versionId, 'version');
    const { bytes, number, adapter } = toVersion(entry);
    const name = this.contents.index.get(adapter);
    const title = name ? (name.value as AdapterValue).name : 'of an unknown adapter';
    return await this.contents.read(entry, bytes, `version ${number} of "${title}"`);
  }

  /**
   * A path under which libllama can read it, without it being written to a disk where the system allows (see `memoryFile`). Dispose of
   * it once the adapter is loaded.
   */
  async openForInference(versionId: string): Promise<MemoryFile> {
    return await memoryFile(await this.read(versionId));
  }

  async note(versionId: string, note: string): Promise<AdapterVersion> {
    return await this.changeVersion(versionId, { note });
  }

  async annotate(versionId: string, more: { memorised?: Json }): Promise<AdapterVersion> {
    return await this.changeVersion(versionId, more);
  }

  /** Destroys the key of a version. One that is in use is no longer: the bare base model is. */
  async deleteVersion(versionId: string): Promise<void> {
    await this.contents.store(undefined, () => {
      this.version(versionId);
      return { change: { ...this.withoutVersions([versionId]), forget: true }, result: undefined };
    });
  }

  /** Destroys the keys of all its versions. */
  async delete(id: string): Promise<void> {
    await this.contents.store(undefined, () => {
      const { versions } = this.get(id);
      return { change: { remove: [id, ...versions.map((version) => version.id)], forget: true }, result: undefined };
    });
  }

  /** Versions that have learnt from a data set, or from a version that had, oldest first. */
  dependentsOf(datasetId: string): AdapterVersion[] {
    const all = this.versions().sort((a, b) => a.createdAt.localeCompare(b.createdAt) || a.number - b.number);
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
  withoutVersions(versionIds: readonly string[]): { put: Entry[]; remove: string[] } {
    const gone = new Set(versionIds);
    const put: Entry[] = [];
    const remove = [...versionIds];
    for (const entry of this.contents.index.all('adapter')) {
      const { versions, active } = toAdapter(entry, this.versions());
      if (!versions.some(({ id }) => gone.has(id))) continue;
      if (versions.every(({ id }) => gone.has(id))) remove.push(entry.id);
      else if (active !== null && gone.has(active)) {
        put.push({ ...entry, value: { ...(entry.value as AdapterValue), active: null } });
      }
    }
    return { put, remove };
  }

  private async changeAdapter(id: string, decide: () => Partial<AdapterValue>): Promise<Adapter> {
    return await this.contents.store(undefined, () => {
      const entry = this.entry(id, 'adapter');
      const changed = { ...entry, value: { ...(entry.value as AdapterValue), ...decide() } };
      return { change: { put: [changed] }, result: toAdapter(changed, this.versions()) };
    });
  }

  private async changeVersion(id: string, more: Partial<VersionValue>): Promise<AdapterVersion> {
    return await this.contents.store(undefined, () => {
      const entry = this.entry(id, 'version');
      const value = { ...(entry.value as VersionValue), ...more };
      return { change: { put: [{ ...entry, value }] }, result: { id, ...value } };
    });
  }

  private versions(): AdapterVersion[] {
    return this.contents.index.all('version').map(toVersion);
  }

  private find(target: string | { name: string }): { id: string; value: AdapterValue } | undefined {
    const entry =
      typeof target === 'string'
        ? this.entry(target, 'adapter')
        : this.contents.index.all('adapter').find(({ value }) => (value as AdapterValue).name === target.name);
    return entry && { id: entry.id, value: entry.value as AdapterValue };
  }

  private entry(id: string, type: 'adapter' | 'version'): Entry {
    const entry = this.contents.index.get(id);
    if (entry?.type === type) return entry;
    const found =
      type === 'adapter' ? 'there is no such adapter in the vault' : 'there is no such version in the vault';
    throw new LoamError({ code: 'not-found', found, fix: 'see loam adapters list' });
  }
}

function toVersion(entry: Entry): AdapterVersion {
  return { ...(entry.value as VersionValue), id: entry.id };
}

function toAdapter({ id, value }: Entry, versions: readonly AdapterVersion[]): Adapter {
  const { name, createdAt, model, active } = value as AdapterValue;
  const own = versions.filter(({ adapter }) => adapter === id).sort((a, b) => b.number - a.number);
  // A version whose entry was lost to damage cannot be in use.
  return { id, name, createdAt, model, versions: own, active: own.some((v) => v.id === active) ? active : null };
}

function otherModel({ name, model }: AdapterValue, base: Lineage['base']): LoamError {
  return new LoamError({
    code: 'mismatch',
    found: `the adapter "${name}" belongs to the base model ${model.name}`,
    expected: `${base.name}, which this version was made for`,
    fix: 'keep it under another name',
  });
}
