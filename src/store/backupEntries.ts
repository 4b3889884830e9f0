import Type, { type TSchema } from 'typebox';
import Value from 'typebox/value';
import { LoamError } from '../base/errors.js';
import { hashAsRead } from '../examples/loadDataset.js';
import type { Entry, EntryType } from './indexContent.js';

/**
 * What a backup says of its entries, held against what the rest of the vault takes for granted: whoever restores one may have got it from
 * somebody else.
 */

const Id = Type.String({ pattern: '^[0-9a-f]{32}$' });
const Sha256 = Type.String({ pattern: '^[0-9a-f]{64}$' });
const Whole = Type.Integer({ minimum: 0 });
const Name = Type.String({ minLength: 1, maxLength: 1000 });
const Model = Type.Object({ name: Type.String(), sha256: Type.String() });
const maybe = Type.Optional;

/** The values of entries by their type; what later versions of Loam add is kept as it is. */
const values: Record<EntryType, TSchema> = {
  dataset: Type.Object({
    name: Name,
    createdAt: Type.String(),
    changedAt: Type.String(),
    bytes: Whole,
    sha256: Sha256,
    container: maybe(Type.String()),
    columns: maybe(Type.String()),
    examples: Whole,
    records: Whole,
    excluded: Type.Array(Whole),
  }),
  adapter: Type.Object({
    name: Name,
    createdAt: Type.String(),
    model: Model,
    active: Type.Union([Id, Type.Null()]),
    next: Whole,
  }),
  version: Type.Object({
    adapter: Id,
    number: Whole,
    createdAt: Type.String(),
    bytes: Whole,
    sha256: Sha256,
    lineage: Type.Object({
      base: Model,
      datasets: Type.Array(Type.Object({ id: maybe(Id), sha256: Type.String() })),
      recipe: maybe(Type.Record(Type.String(), Type.Unknown())),
      metrics: maybe(Type.Record(Type.String(), Type.Unknown())),
      parent: maybe(Id),
      teacher: maybe(Id),
      imported: maybe(Type.String()),
    }),
    run: maybe(Type.Object({ id: Type.String(), ended: Type.Boolean() })),
    note: Type.String(),
  }),
  document: Type.Object({
    kind: Name,
    id: Name,
    bytes: Whole,
    changedAt: Type.String(),
    of: maybe(Type.Array(Id)),
  }),
};

const Listed = Type.Object({
  version: Type.Literal(1),
  entries: Type.Array(
    Type.Object({ id: Id, type: Type.Enum(['dataset', 'adapter', 'version', 'document']), value: Type.Unknown() }),
  ),
});

/** An entry as a backup lists it: without what seals its content here. */
export type BackupEntry = Pick<Entry, 'id' | 'type' | 'value'>;

/** Of a value, as far as the schemas above have it. */
interface Fields {
  name: string;
  kind: string;
  id: string;
  bytes: number;
  sha256?: string;
  columns?: string;
  adapter: string;
  number: number;
  active: string | null;
  next: number;
}

/** What came as the content of an entry. */
export interface BackupContent {
  bytes: number;
  sha256: string;
}

/**
 * The entries of a backup, each with its content: nothing is missing, nothing is there twice, and what one names of the others is there.
 * @param contents by "type/id"
 * @throws LoamError: damaged
 */
export function checkEntries(listed: unknown, contents: ReadonlyMap<string, BackupContent>): BackupEntry[] {
  if (!Value.Check(Listed, listed)) throw contradicts();
  const { entries } = listed;
  const names = new Set<string>();
  const once = (name: string) => {
    if (names.has(name)) throw contradicts();
    names.add(name);
  };
  const of = (entry: BackupEntry) => entry.value as Fields;
  const byId = new Map<string, BackupEntry>();
  for (const entry of entries as BackupEntry[]) {
    if (!Value.Check(values[entry.type], entry.value)) throw contradicts();
    const { id, type } = entry;
    const { name, kind, adapter, number, bytes, sha256, columns } = of(entry);
    once(`id ${id}`);
    if (type === 'version') once(`version ${adapter} ${number}`);
    else once(type === 'document' ? `document ${kind}\n${of(entry).id}` : `${type} ${name}`);
    byId.set(id, entry);
    if (type === 'adapter') continue;
    const content = contents.get(`${type}/${id}`);
    if (content?.bytes !== bytes) throw contradicts();
    if (sha256 !== undefined && hashAsRead({ sha256: content.sha256, columns }) !== sha256) throw contradicts();
  }
  if (contents.size !== entries.filter(({ type }) => type !== 'adapter').length) throw contradicts();
  const versions = [...byId.values()].filter(({ type }) => type === 'version');
  for (const { id, type, value } of byId.values()) {
    const { adapter, number, active } = value as Fields;
    if (type === 'version') {
      const owner = byId.get(adapter);
      if (owner?.type !== 'adapter' || number >= of(owner).next) throw contradicts();
    }
    if (type !== 'adapter') continue;
    const own = versions.filter((version) => of(version).adapter === id);
    if (own.length === 0 || (active !== null && !own.some((version) => version.id === active))) throw contradicts();
  }
  return [...byId.values()];
}

function contradicts(): LoamError {
  return new LoamError({
    code: 'damaged',
    found: 'a backup that contradicts itself',
    fix: 'use another one; nothing was changed',
  });
}
