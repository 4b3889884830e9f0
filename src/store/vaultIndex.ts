import { deriveKey, seal, unseal } from '../base/crypto.js';
import { isDiskFull, LoamError } from '../base/errors.js';
import type { VaultFiles } from './files.js';
import {
  blobsOf,
  changedIndex,
  type Entry,
  type EntryChange,
  type EntryType,
  emptyIndex,
  type IndexContent,
  type IndexCopy,
  missing,
  readIndex,
} from './indexContent.js';
import { loadSqlite } from './indexImage.js';
import { type IndexKey, newIndexKey, readKeyring, writeKeyring } from './keyring.js';
import { VaultLock } from './lock.js';
import { keyState } from './rootKey.js';
import { vaultDamaged, vaultLocked } from './types.js';

/** What the number of the last index is sealed for. */
const LATEST = 'latest';

/** Attempts at reading while another process replaces the files. */
const ATTEMPTS = 5;

export interface Change extends EntryChange {
  /** Makes the secrets that were in the index until now unreadable, in whatever remains of its earlier files. */
  forget?: boolean;
}

interface Decision<T> {
  change: Change;
  result: T;
  /** Called under the same lock once the change is on the disk. */
  after?: () => Promise<void>;
}

interface State extends IndexContent {
  /** Which files this is: changes whenever the index or its key is written. */
  signature: string;
}

/**
 * The index of a vault: what there is, and the secrets of its blobs. Held in memory, read again when another process has written it.
 */
export class VaultIndex implements AsyncDisposable {
  /** What was found damaged, a sentence each. */
  readonly problems: string[] = [];
  private state: State | undefined;
  /** Whether `root` has once been the right key. */
  private opened = false;
  /** Whether a write is under way: the files are not to be read in its middle, and its state must not be replaced under it. */
  private writing = false;
  /** Whether the two copies were of different age when it was read. */
  older = false;
  /** How often it was read because another one had written it. */
  private rereads = 0;
  readonly lock: VaultLock;

  private constructor(
    private readonly files: VaultFiles,
    private root: Buffer,
  ) {
    this.lock = new VaultLock(files);
  }

  /** Opens the index of a vault whose key is `root`; writes an empty one if `create` says that the vault is new. */
  static async open(files: VaultFiles, root: Buffer, create: boolean): Promise<VaultIndex> {
    await loadSqlite();
    const index = new VaultIndex(files, root);
    if (create) {
      const key = newIndexKey();
      await writeKeyring(files, [root], [key]);
      await index.save(emptyIndex(key), {});
    }
    index.refresh();
    index.compareLatest();
    return index;
  }

  /**
   * An index that is older than the last one was put back, in both places; or the whole folder with it, keys included, which only what
   * lies outside can tell. The next one is to be newer than all.
   */
  private compareLatest(): void {
    const sealed = this.files.readLatest('latest');
    const within = Number(sealed && unseal(deriveKey(this.root, LATEST), LATEST, sealed));
    const state = this.state!;
    const outside = this.latestOutside();
    const latest = Math.max(within || 0, outside);
    if (latest <= state.generation) return;
    const lost = latest - state.generation;
    const what = within > state.generation ? 'an older index' : 'an older state of the whole vault';
    this.problems.push(
      `${what} was put back: the last ${lost === 1 ? 'change is' : `${lost} changes are`} not in it; contents stay where they are`,
    );
    state.generation = latest;
  }

  /** Number of the last index of this vault that was written, by what lies beside its folder; 0 if that knows nothing of it. */
  private latestOutside(): number {
    const [, vault, generation] =
      /^([0-9a-f]{16}) (\d{1,15})$/.exec(String(this.files.readLatest('outside') ?? '')) ?? [];
    return vault !== undefined && vault === this.state!.vault ? Number(generation) : 0;
  }

  private async noteLatest(): Promise<void> {
    const { vault, generation } = this.state!;
    const sealed = seal(deriveKey(this.root, LATEST), LATEST, Buffer.from(String(generation)));
    await this.files.writeLatest('latest', sealed);
    if (vault !== undefined) await this.files.writeLatest('outside', Buffer.from(`${vault} ${generation}`));
  }

  /** Every entry of a type, as of now. */
  all(type: EntryType): Entry[] {
    return [...this.current().entries.values()].filter((entry) => entry.type === type);
  }

  /** A number that changes when somebody else has written. @throws LoamError: locked, not-found, vault-damaged */
  get writtenElsewhere(): number {
    this.refresh();
    return this.rereads;
  }

  get(id: string): Entry | undefined {
    return this.current().entries.get(id);
  }

  /** Names of the blobs that are in use. */
  blobs(): Set<string> {
    return blobsOf(this.current().entries);
  }

  /** Names of the blobs that are to be removed. */
  gone(): readonly string[] {
    return this.current().gone;
  }

  /**
   * Changes the index: `decide` sees the newest state, under the lock, and says what is to change. All of it is on the disk when the
   * promise resolves, and none of it if it rejects.
   */
  update<T>(decide: () => Promise<Decision<T>> | Decision<T>): Promise<T> {
    return this.lock.run(async () => {
      this.refresh();
      // What another process was killed at may hold keys that this change is to destroy.
      await this.files.sweep();
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
      await this.noteLatest();
      if (this.state) this.state.signature = this.signature();
    } finally {
      this.writing = false;
    }
  }

  /** Makes `root` the vault's key. `write` puts it to its place, between two writings of `index.key` that make either key fit. */
  replaceRoot(root: Buffer, write: () => Promise<void>): Promise<void> {
    return this.lock.run(async () => {
      this.refresh();
      await this.files.sweep();
      await this.undisturbed(async () => {
        await this.commit({ put: [], remove: [], forget: true });
        const { key } = this.current();
        await writeKeyring(this.files, [this.root, root], [key]);
        await write();
        this.root = root;
        await writeKeyring(this.files, [root], [key]);
      });
    });
  }

  /** Ends what a crash has interrupted, and mends a damaged copy from the other. Call it under the lock. */
  async tidy(): Promise<void> {
    const { key, image } = this.current();
    const keyring = readKeyring(this.files, this.root);
    if (!keyring?.tidy || !this.files.isWhole('index.key')) await writeKeyring(this.files, [this.root], [key]);
    if (this.latestOutside() === 0) await this.noteLatest();
    if (this.problems.length > 0 || this.files.isWhole('index.sqlite')) return;
    await this.files.write('index.sqlite', image.export(false));
    this.refresh();
  }

  private current(): State {
    this.refresh();
    return this.state!;
  }

  private signature(): string {
    return `${this.files.signature('index.sqlite')}; ${this.files.signature('index.key')}`;
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

  private readCopies(): IndexCopy[] {
    const keyring = readKeyring(this.files, this.root);
    if (!keyring) {
      const state = this.opened ? keyState(this.files) : undefined;
      if (state === 'absent') {
        throw new LoamError({
          code: 'not-found',
          found: 'the vault was deleted meanwhile',
          where: this.files.folder,
          fix: 'run again',
        });
      }
      if (state === 'open' || state === 'passphrase') throw vaultLocked('the key of the vault was changed meanwhile');
      throw vaultDamaged({
        found: 'the key of the index is damaged or gone, and without it nothing in the vault can be read',
        where: this.files.path('index.key'),
        fix: 'restore it from a copy, or begin anew with loam vault destroy',
      });
    }
    const path = this.files.path('index.sqlite');
    return this.files.read('index.sqlite').flatMap((bytes) => readIndex(bytes, keyring.keys, path) ?? []);
  }

  /** Takes the newest copy; if that is not whole, what both have together. */
  private accept(read: IndexCopy[], signature: string): void {
    this.problems.length = 0;
    const worth = (a: IndexCopy, b: IndexCopy) =>
      b.generation - a.generation || Number(b.whole) - Number(a.whole) || b.entries.size - a.entries.size;
    const [best, ...others] = read.toSorted(worth);
    if (!best) {
      throw vaultDamaged({
        found: 'both copies of the index are damaged or gone, and without it nothing in the vault can be read',
        where: this.files.path('index.sqlite'),
        fix: 'restore one from a copy, or begin anew with loam vault destroy',
      });
    }
    for (const other of others) other.image[Symbol.dispose]();
    this.older = others.some(({ generation }) => generation < best.generation);
    const { image, key, vault, generation, gone, whole } = best;
    const known = this.state;
    if (known && known.key.id === key.id && known.generation > generation) {
      // The next write puts the newer one back.
      image[Symbol.dispose]();
      this.state = { ...known, signature };
      this.problems.push('an older index was put in the place of the one in use, which counts');
      return;
    }
    const entries = new Map(best.entries);
    // Under one key nothing has been deleted in between.
    for (const other of whole ? [] : others.filter((one) => one.key.id === key.id)) {
      const before = entries.size;
      for (const [id, entry] of other.entries) if (!entries.has(id)) entries.set(id, entry);
      if (entries.size > before && other.generation < generation) {
        this.problems.push(
          `the index is damaged: ${entries.size - before} entries are as they were before the last changes`,
        );
      }
    }
    const lost = whole ? '' : missing(best.counts ?? others.find(({ counts }) => counts)?.counts, entries);
    if (lost !== '') this.problems.push(`the index is damaged: ${lost} cannot be read any more; all else can`);
    known?.image[Symbol.dispose]();
    this.state = { image, key, vault, generation, entries, gone, signature };
    this.opened = true;
    this.rereads++;
  }

  private async commit(change: Required<Change>): Promise<void> {
    this.lock.requireHeld();
    try {
      await this.write(change);
    } catch (error) {
      // What is to be forgotten must be forgotten on a full disk too.
      if (!change.forget || !isDiskFull(error)) throw error;
      await this.files.giveUpReserve();
      this.refresh();
      await this.write(change);
    }
  }

  private async write({ put, remove, forget }: Required<Change>): Promise<void> {
    const { blobs } = this.files;
    const state = { ...this.state!, gone: this.state!.gone.filter((name) => blobs.has(name)) };
    try {
      if (!forget) {
        await this.save(state, { put, remove });
      } else {
        const next = newIndexKey();
        await writeKeyring(this.files, [this.root], [state.key, next]);
        await this.save(state, { put, remove }, next);
        await writeKeyring(this.files, [this.root], [next]);
      }
    } catch (error) {
      // What is on the disk counts, whichever state that is.
      this.state?.image[Symbol.dispose]();
      this.state = undefined;
      throw error;
    }
  }

  private async save(from: IndexContent, change: EntryChange, key: IndexKey = from.key): Promise<void> {
    const index = changedIndex(from, change, key);
    const compact = key !== from.key || (change.remove ?? []).length > 0;
    await this.files.write('index.sqlite', index.image.export(compact));
    this.state = { ...index, signature: this.signature() };
    this.opened = true;
  }

  /** A write that is under way comes to its end first: it needs the key that is wiped here. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.lock.close();
    this.state?.image[Symbol.dispose]();
    this.state = undefined;
    this.root.fill(0);
  }
}
