import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { seal, unseal } from '../base/crypto.js';
import { isDiskFull, LoamError, UnsupportedError } from '../base/errors.js';
import { IndexImage, type IndexRow, loadSqlite } from './indexImage.js';
import { type IndexKey, keyState, newIndexKey, readKeyring, writeKeyring } from './keys.js';
import { isMirrored, readMirrored, VaultLock, writeMirrored } from './mirrored.js';
import { VaultDamagedError, VaultLockedError } from './types.js';

const VERSION = '1';
/** Attempts at reading while another process replaces the files. */
const ATTEMPTS = 5;

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

export interface Change {
  /** New or replaced. */
  put?: readonly Entry[];
  /** Ids. */
  remove?: readonly string[];
  /** Makes the secrets that were in the index until now unreadable, in whatever remains of its earlier files. */
  forget?: boolean;
}

export interface Decision<T> {
  change: Change;
  result: T;
  /** Called under the same lock once the change is on the disk. */
  after?: () => Promise<void>;
}

interface State {
  entries: Map<string, Entry>;
  image: IndexImage;
  key: IndexKey;
  generation: number;
  /** Which file this is: changes whenever the index is written. */
  signature: string;
}

/** Sealed with the index: tells whether it is complete. */
interface Manifest {
  generation: number;
  ids: string;
  counts: Record<string, number>;
}

interface Read {
  image: IndexImage;
  key: IndexKey;
  entries: Map<string, Entry>;
  generation: number;
  /** Entries by type when it was written; undefined where that cannot be read. */
  counts: Record<string, number> | undefined;
  whole: boolean;
}

/**
 * The index of a vault: what there is, and the secrets of its blobs. Held in memory, read again when another process has written it.
 */
export class VaultIndex implements Disposable {
  /** What was found damaged, a sentence each. */
  readonly problems: string[] = [];
  private state: State | undefined;
  /** Whether `root` has once been the right key. */
  private opened = false;
  /** Whether a write is under way: the files are not to be read in its middle, and its state must not be replaced under it. */
  private writing = false;
  readonly lock: VaultLock;

  private constructor(
    private readonly folder: string,
    private root: Buffer,
  ) {
    this.lock = new VaultLock(folder);
  }

  private get path(): string {
    return join(this.folder, 'index.sqlite');
  }

  /** Opens the index of a vault whose key is `root`; writes an empty one where `create` says that the vault is new. */
  static async open(folder: string, root: Buffer, create: boolean): Promise<VaultIndex> {
    await loadSqlite();
    const index = new VaultIndex(folder, root);
    if (create) {
      const key = newIndexKey();
      await writeKeyring(folder, [root], [key]);
      const image = IndexImage.empty();
      const entries = new Map<string, Entry>();
      await index.save({ image, key, entries, generation: 0, signature: '' }, {});
    }
    index.refresh();
    return index;
  }

  /** Every entry of a type, as of now. */
  all(type: EntryType): Entry[] {
    return [...this.current().entries.values()].filter((entry) => entry.type === type);
  }

  get(id: string): Entry | undefined {
    return this.current().entries.get(id);
  }

  /** Whether nothing is missing: only then is a blob without entry an orphan. */
  get whole(): boolean {
    this.refresh();
    return this.problems.length === 0;
  }

  /** Names of the blobs that are in use. */
  blobs(): Set<string> {
    return new Set([...this.current().entries.values()].flatMap(({ blob }) => (blob ? [blob.name] : [])));
  }

  /**
   * Changes the index: `decide` sees the newest state, under the lock, and says what is to change. All of it is on the disk when the
   * promise resolves, and none of it where it rejects.
   */
  update<T>(decide: () => Promise<Decision<T>> | Decision<T>): Promise<T> {
    return this.lock.run(async () => {
      this.refresh();
      const { change, result, after } = await decide();
      const { put = [], remove = [], forget = false } = change;
      if (put.length > 0 || remove.length > 0 || forget) {
        await this.undisturbed(() => this.commit({ put, remove, forget }));
      }
      await after?.();
      return result;
    });
  }

  /** Whoever asks while `write` is at it is answered from memory, as of before. */
  private async undisturbed(write: () => Promise<void>): Promise<void> {
    this.writing = true;
    try {
      await write();
    } finally {
      this.writing = false;
    }
  }

  /** Makes `root` the vault's key. `write` puts it to its place, between two writings of `index.key` that make either key fit. */
  replaceRoot(root: Buffer, write: () => Promise<void>): Promise<void> {
    return this.lock.run(async () => {
      this.refresh();
      await this.undisturbed(() => this.commit({ put: [], remove: [], forget: true }));
      const { key } = this.current();
      await writeKeyring(this.folder, [this.root, root], [key]);
      await write();
      this.root = root;
      await writeKeyring(this.folder, [root], [key]);
    });
  }

  /** Ends what a crash has interrupted, and mends a damaged copy from the other. Call it under the lock. */
  async tidy(): Promise<void> {
    const { key, image } = this.current();
    const keyring = readKeyring(this.folder, this.root);
    const keyPath = join(this.folder, 'index.key');
    if (!keyring?.tidy || !isMirrored(keyPath)) await writeKeyring(this.folder, [this.root], [key]);
    if (this.problems.length > 0 || isMirrored(this.path)) return;
    await writeMirrored(this.path, image.export(false));
    this.refresh();
  }

  private current(): State {
    this.refresh();
    return this.state!;
  }

  private signature(): string {
    const of = (path: string) => {
      const found = statSync(path, { bigint: true, throwIfNoEntry: false });
      return found ? `${found.ino} ${found.size} ${found.mtimeNs}` : 'none';
    };
    return `${of(this.path)}, ${of(`${this.path}.copy`)}`;
  }

  private refresh(): void {
    if (this.writing && this.state !== undefined) return;
    if (this.state !== undefined && this.state.signature === this.signature()) return;
    for (let attempt = 1; ; attempt++) {
      const before = this.signature();
      const read = this.readCopies();
      const changed = before !== this.signature();
      // Two files were read while another process replaced them: they need not fit together.
      if (changed && attempt < ATTEMPTS && !read.some(({ whole }) => whole)) {
        for (const { image } of read) image[Symbol.dispose]();
        continue;
      }
      this.accept(read, changed ? '' : before);
      return;
    }
  }

  private readCopies(): Read[] {
    const keyring = readKeyring(this.folder, this.root);
    if (!keyring) {
      if (this.opened && keyState(this.folder) === 'absent') {
        throw new LoamError({ found: 'the vault was deleted meanwhile', where: this.folder, fix: 'run again' });
      }
      if (this.opened) throw new VaultLockedError('the key of the vault was changed meanwhile');
      throw new VaultDamagedError({
        found: 'the key of the index is damaged or gone, and without it nothing in the vault can be read',
        where: join(this.folder, 'index.key'),
        fix: 'restore it from a copy, or begin anew with loam vault destroy',
      });
    }
    return readMirrored(this.path).flatMap((bytes) => {
      const read = readIndex(bytes, keyring.keys, this.path);
      return read ? [read] : [];
    });
  }

  /** Takes the copy that is whole, else what both have together. */
  private accept(read: Read[], signature: string): void {
    this.problems.length = 0;
    const best = read.find(({ whole }) => whole) ?? read.toSorted((a, b) => b.entries.size - a.entries.size)[0];
    if (!best) {
      throw new VaultDamagedError({
        found: 'both copies of the index are damaged or gone, and without it nothing in the vault can be read',
        where: this.path,
        fix: 'restore one from a copy, or begin anew with loam vault destroy',
      });
    }
    for (const other of read) if (other !== best) other.image[Symbol.dispose]();
    const entries = new Map(best.entries);
    if (!best.whole) {
      for (const other of read) for (const [id, entry] of other.entries) if (!entries.has(id)) entries.set(id, entry);
      const lost = missing(best.counts ?? read.find(({ counts }) => counts)?.counts, entries);
      if (lost !== '') this.problems.push(`the index is damaged: ${lost} cannot be read any more; all else can`);
    }
    this.state?.image[Symbol.dispose]();
    const { image, key, generation } = best;
    this.state = { image, key, generation, entries, signature };
    this.opened = true;
  }

  private async commit(change: Required<Change>): Promise<void> {
    try {
      await this.write(change);
    } catch (error) {
      // What is to be forgotten must be forgotten on a full disk too.
      if (!change.forget || !isDiskFull(error)) throw error;
      await this.lock.giveUpReserve();
      this.refresh();
      await this.write(change);
    }
  }

  private async write({ put, remove, forget }: Required<Change>): Promise<void> {
    const state = this.state!;
    try {
      if (!forget) {
        await this.save(state, { put, remove });
      } else {
        const next = newIndexKey();
        await writeKeyring(this.folder, [this.root], [state.key, next]);
        await this.save({ ...state, key: next }, { put, remove, all: true });
        await writeKeyring(this.folder, [this.root], [next]);
      }
    } catch (error) {
      // What is on the disk counts, whichever state that is.
      this.state?.image[Symbol.dispose]();
      this.state = undefined;
      throw error;
    }
  }

  private async save(
    from: State,
    { put = [], remove = [], all = false }: { put?: readonly Entry[]; remove?: readonly string[]; all?: boolean },
  ): Promise<void> {
    const entries = new Map(from.entries);
    for (const id of remove) entries.delete(id);
    for (const entry of put) entries.set(entry.id, entry);
    const generation = from.generation + 1;
    const row = (entry: Entry): IndexRow => {
      const { id, type, blob, value } = entry;
      const plain = Buffer.from(JSON.stringify({ value, secret: blob?.secret }));
      return { id, type, blob: blob?.name ?? null, sealed: seal(from.key.key, purposeOf(entry), plain) };
    };
    const manifest: Manifest = { generation, ids: digest(entries), counts: countTypes(entries) };
    from.image.apply({
      remove: all ? [...from.entries.keys(), ...remove] : remove,
      put: (all ? [...entries.values()] : put).map(row),
      meta: new Map<string, Uint8Array>([
        ['version', Buffer.from(VERSION)],
        ['key', Buffer.from(from.key.id)],
        ['manifest', seal(from.key.key, `manifest ${VERSION}`, Buffer.from(JSON.stringify(manifest)))],
      ]),
    });
    await writeMirrored(this.path, from.image.export(all || remove.length > 0));
    this.state = { image: from.image, key: from.key, generation, entries, signature: this.signature() };
    this.opened = true;
  }

  [Symbol.dispose](): void {
    this.state?.image[Symbol.dispose]();
    this.state = undefined;
    this.root.fill(0);
  }
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

/** "1 data set and 2 documents"; '' where nothing is missing. */
function missing(counts: Record<string, number> | undefined, entries: ReadonlyMap<string, Entry>): string {
  if (!counts) return 'an unknown part of it';
  const have = countTypes(entries);
  const parts = (Object.keys(names) as EntryType[]).flatMap((type) => {
    const lost = (counts[type] ?? 0) - (have[type] ?? 0);
    return lost > 0 ? [`${lost} ${names[type][lost === 1 ? 0 : 1]}`] : [];
  });
  return parts.join(' and ');
}

/** What of an index file makes sense; undefined where nothing does. Throws UnsupportedError for one of a later Loam. */
function readIndex(bytes: Buffer, keys: readonly IndexKey[], path: string): Read | undefined {
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
  const { generation, ids, counts } = JSON.parse(manifest?.toString() ?? '{}') as Partial<Manifest>;
  const { rows, damaged } = image.rows();
  const entries = new Map<string, Entry>();
  for (const row of rows) {
    const entry = openRow(row, key);
    if (entry) entries.set(entry.id, entry);
  }
  const whole = !damaged && entries.size === rows.length && ids === digest(entries);
  return { image, key, entries, generation: generation ?? 0, counts, whole };
}

function openRow({ id, type, blob, sealed }: IndexRow, { key }: IndexKey): Entry | undefined {
  const plain = unseal(key, purposeOf({ id, type, blob: blob === null ? null : { name: blob } }), sealed);
  if (!plain) return undefined;
  const { value, secret } = JSON.parse(plain.toString()) as { value: unknown; secret?: string };
  const entry: Entry = { id, type: type as EntryType, value };
  if (blob !== null && secret !== undefined) entry.blob = { name: blob, secret };
  return entry;
}
