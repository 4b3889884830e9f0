import { createHash, randomBytes } from 'node:crypto';
import { seal, unseal } from '../base/crypto.js';
import { UnsupportedError } from '../base/errors.js';
import { IndexImage, type IndexRow } from './indexImage.js';
import type { IndexKey } from './keyring.js';

/**
 * What an index says, and how it is sealed: each entry under the key of the index, and a manifest that tells whether all of them are
 * there. Nothing here touches a file.
 */

const VERSION = '1';

export type EntryType = 'dataset' | 'adapter' | 'version' | 'document';

/** What the index holds of one thing. All of it is sealed but `id`, `type` and `blob`. */
export interface Entry {
  /** 32 hex digits, random. */
  id: string;
  type: EntryType;
  /** The file with its content and the secret that opens it. */
  blob?: { name: string; secret: string };
  /** Plain JSON, by type. */
  value: unknown;
}

/** Entries that are new or replaced, and ids of those that go. */
export interface EntryChange {
  put?: readonly Entry[];
  remove?: readonly string[];
}

export interface IndexContent {
  image: IndexImage;
  /** What it is sealed with. */
  key: IndexKey;
  entries: ReadonlyMap<string, Entry>;
  /** Of the vault, random: the same as long as it is there; undefined in one that an earlier version wrote last. */
  vault: string | undefined;
  generation: number;
  /** Blobs that the last changes have left without an entry, and that are to be removed. */
  gone: readonly string[];
}

/** Sealed with the index: tells whether it is complete. */
interface Manifest {
  generation: number;
  /** Absent in vaults of earlier versions. */
  vault?: string;
  /** Absent in vaults of earlier versions. */
  gone?: string[];
  ids: string;
  counts: Record<string, number>;
}

/** One copy of the index, as far as it makes sense. */
export interface IndexCopy extends IndexContent {
  /** Whether nothing is missing. */
  whole: boolean;
  /** Entries by type when it was written; undefined if that cannot be read. */
  counts: Record<string, number> | undefined;
}

export function emptyIndex(key: IndexKey): IndexContent {
  return { image: IndexImage.empty(), key, entries: new Map(), vault: undefined, generation: 0, gone: [] };
}

/** The index after a change. The image is the same one, changed. @param key another one seals all entries anew */
export function changedIndex(
  from: IndexContent,
  { put = [], remove = [] }: EntryChange,
  key: IndexKey = from.key,
): IndexContent {
  const { image } = from;
  const entries = new Map(from.entries);
  for (const id of remove) entries.delete(id);
  for (const entry of put) entries.set(entry.id, entry);
  const generation = from.generation + 1;
  const now = blobsOf(entries);
  const gone = [...blobsOf(from.entries), ...from.gone].filter((name) => !now.has(name));
  const row = (entry: Entry): IndexRow => {
    const { id, type, blob, value } = entry;
    const plain = Buffer.from(JSON.stringify({ value, secret: blob?.secret }));
    return { id, type, blob: blob?.name ?? null, sealed: seal(key.key, purposeOf(entry), plain) };
  };
  const { vault = randomBytes(8).toString('hex') } = from;
  const manifest: Manifest = { generation, vault, gone, ids: digest(entries), counts: countTypes(entries) };
  const all = key !== from.key;
  image.apply({
    remove: all ? [...from.entries.keys(), ...remove] : remove,
    put: (all ? [...entries.values()] : put).map(row),
    meta: new Map<string, Uint8Array>([
      ['version', Buffer.from(VERSION)],
      ['key', Buffer.from(key.id)],
      ['manifest', seal(key.key, `manifest ${VERSION}`, Buffer.from(JSON.stringify(manifest)))],
    ]),
  });
  return { image, key, entries, vault, generation, gone };
}

/** Names of the blobs that are in use. */
export function blobsOf(entries: ReadonlyMap<string, Entry>): Set<string> {
  return new Set([...entries.values()].flatMap(({ blob }) => (blob ? [blob.name] : [])));
}

/** What of an index file makes sense; undefined if nothing does. Throws UnsupportedError for one of a later Loam. */
export function readIndex(bytes: Buffer, keys: readonly IndexKey[], path: string): IndexCopy | undefined {
  const image = IndexImage.from(bytes);
  const id = image?.meta('key')?.toString();
  const key = keys.find((k) => k.id === id);
  const version = image?.meta('version')?.toString();
  if (!image || !key) {
    image?.[Symbol.dispose]();
    return undefined;
  }
  const sealed = image.meta('manifest');
  const manifest = sealed && unseal(key.key, `manifest ${version}`, sealed);
  if (manifest && version !== VERSION) {
    image[Symbol.dispose]();
    throw new UnsupportedError({
      found: 'the vault was written by a later Loam',
      expected: `format ${VERSION}`,
      where: path,
      fix: 'update Loam',
    });
  }
  const said = JSON.parse(manifest?.toString() ?? '{}') as Partial<Manifest>;
  const { vault, generation = 0, gone = [], ids, counts } = said;
  const { rows, damaged } = image.rows();
  const entries = new Map<string, Entry>();
  for (const row of rows) {
    const entry = openRow(row, key);
    if (entry) entries.set(entry.id, entry);
  }
  const whole = !damaged && entries.size === rows.length && ids === digest(entries);
  return { image, key, entries, vault, generation, gone, whole, counts };
}

function openRow({ id, type, blob, sealed }: IndexRow, { key }: IndexKey): Entry | undefined {
  const plain = unseal(key, purposeOf({ id, type, blob: blob === null ? null : { name: blob } }), sealed);
  if (!plain) return undefined;
  const { value, secret } = JSON.parse(plain.toString()) as { value: unknown; secret?: string };
  const entry: Entry = { id, type: type as EntryType, value };
  if (blob !== null && secret !== undefined) entry.blob = { name: blob, secret };
  return entry;
}

function purposeOf({ id, type, blob }: { id: string; type: string; blob?: { name: string } | null }): string {
  return `entry ${type} ${id} ${blob?.name ?? ''}`;
}

/** Of all ids: tells whether a row is missing or too many. */
function digest(entries: ReadonlyMap<string, Entry>): string {
  return createHash('sha256')
    .update([...entries.keys()].sort().join('\n'))
    .digest('hex');
}

function countTypes(entries: ReadonlyMap<string, { type: string }>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { type } of entries.values()) counts[type] = (counts[type] ?? 0) + 1;
  return counts;
}

const names: Record<EntryType, [one: string, many: string]> = {
  dataset: ['data set', 'data sets'],
  adapter: ['adapter', 'adapters'],
  version: ['adapter version', 'adapter versions'],
  document: ['document', 'documents'],
};

/** "1 data set and 2 documents"; '' if nothing is missing. */
export function missing(counts: Record<string, number> | undefined, entries: ReadonlyMap<string, Entry>): string {
  if (!counts) return 'an unknown part of it';
  const have = countTypes(entries);
  const parts = (Object.keys(names) as EntryType[]).flatMap((type) => {
    const lost = (counts[type] ?? 0) - (have[type] ?? 0);
    return lost > 0 ? [`${lost} ${names[type][lost === 1 ? 0 : 1]}`] : [];
  });
  return parts.join(' and ');
}
