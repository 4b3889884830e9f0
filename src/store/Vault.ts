import { chmodSync, existsSync, statSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { explainWriteError } from '../base/io.js';
import { AdapterStore } from './adapters.js';
import { BlobStore } from './blobStore.js';
import { DatasetStore, DocumentStore } from './datasets.js';
import { VaultContext } from './indexImage.js';
import { keyState, newRootKey, RunKeys, readRootKey, writeRootKey } from './keys.js';
import { removeMirrored, VaultLock } from './mirrored.js';
import { VaultDamagedError, type VaultState, type VaultStorage } from './types.js';
import { VaultIndex } from './vaultIndex.js';

/**
 * The store of a person's private things: data sets, adapters with their versions, documents; encrypted, see docs/vault.md. Several
 * processes may have one vault open. What only asks the index is synchronous; what touches contents or writes is not.
 */
export class Vault implements AsyncDisposable {
  readonly adapters: AdapterStore;
  readonly datasets: DatasetStore;
  readonly documents: DocumentStore;
  readonly runKeys: RunKeys;

  private constructor(
    readonly folder: string,
    private readonly index: VaultIndex,
    private readonly blobs: BlobStore,
  ) {
    const context = new VaultContext(index, blobs);
    this.adapters = new AdapterStore(context);
    this.datasets = new DatasetStore(context, this.adapters);
    this.documents = new DocumentStore(context);
    this.runKeys = new RunKeys(this.documents);
  }

  /** Whether `home` has a vault, and what opens it. */
  static state(home: string): VaultState {
    return keyState(join(home, 'vault'));
  }

  /**
   * Opens the vault of `home` (LOAM_HOME); makes one, with a passphrase if one is given, where there is none.
   * @throws VaultLockedError where it has a passphrase and none is given, WrongPassphraseError, VaultDamagedError
   */
  static async open(home: string, { passphrase }: { passphrase?: string } = {}): Promise<Vault> {
    const folder = join(home, 'vault');
    const blobFolder = join(folder, 'blobs');
    try {
      await mkdir(blobFolder, { recursive: true, mode: 0o700 });
      if (process.platform !== 'win32') chmodSync(folder, 0o700);
    } catch (error) {
      throw explainWriteError(error, folder);
    }
    // Outside the lock: the passphrase takes its time.
    const known = keyState(folder) === 'absent' ? undefined : await readRootKey(folder, passphrase);
    return await new VaultLock(folder).run(async () => {
      const isNew = keyState(folder) === 'absent';
      if (isNew) await requireEmpty(folder);
      const read = isNew ? undefined : (known ?? (await readRootKey(folder, passphrase)));
      const root = read?.key ?? newRootKey();
      // The index first: a vault without key is not there yet, and the next attempt replaces what this one left.
      const index = await VaultIndex.open(folder, root, isNew);
      if (isNew) await writeRootKey(folder, root, passphrase);
      await read?.tidy();
      const blobs = new BlobStore(blobFolder);
      await index.tidy();
      if (index.problems.length === 0) await blobs.sweep(index.blobs());
      return new Vault(folder, index, blobs);
    });
  }

  /** What was found damaged, a sentence each; all else can be used. */
  get problems(): readonly string[] {
    return this.index.problems;
  }

  /** Whether it wants a passphrase. */
  get locked(): boolean {
    return keyState(this.folder) === 'passphrase';
  }

  /** Sets, changes or (undefined) takes away the passphrase. Keys are wrapped anew, contents stay as they are. */
  async changePassphrase(next: string | undefined): Promise<void> {
    const root = newRootKey();
    await this.index.replaceRoot(root, () => writeRootKey(this.folder, root, next));
  }

  storage(): VaultStorage {
    const sum = (type: 'dataset' | 'version' | 'document') =>
      this.index.all(type).reduce((total, { blob }) => total + (blob ? this.blobs.size(blob.name) : 0), 0);
    const mirrored = ['index.sqlite', 'index.key', 'key', 'key.age'];
    const control = ['reserve', ...mirrored.flatMap((name) => [name, `${name}.copy`])];
    const index = control.reduce(
      (total, name) => total + (statSync(join(this.folder, name), { throwIfNoEntry: false })?.size ?? 0),
      0,
    );
    const byKind = { datasets: sum('dataset'), adapters: sum('version'), documents: sum('document'), index };
    return { bytes: this.blobs.total() + index, byKind };
  }

  /** Reads every content. @returns a sentence for each that is damaged, the index's own among them */
  async check(): Promise<string[]> {
    const problems = [...this.problems];
    const attempt = async (read: () => Promise<unknown>) => {
      try {
        await read();
      } catch (error) {
        if (!(error instanceof VaultDamagedError)) throw error;
        problems.push(error.clause);
      }
    };
    for (const { id } of this.datasets.list()) await attempt(() => this.datasets.read(id));
    for (const { versions } of this.adapters.list())
      for (const { id } of versions) await attempt(() => this.adapters.read(id));
    for (const { kind, id } of this.documents.list()) await attempt(() => this.documents.get(kind, id));
    return problems;
  }

  /** Destroys the keys, then everything. The vault cannot be used afterwards. */
  async destroyEverything(): Promise<void> {
    await this.index.lock.run(() => destroy(this.folder));
    this.index[Symbol.dispose]();
  }

  /** The same for a vault whose passphrase is lost, or that is damaged. */
  static async destroy(home: string): Promise<void> {
    const folder = join(home, 'vault');
    if (!existsSync(folder)) return;
    await new VaultLock(folder).run(() => destroy(folder));
    await rm(folder, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.index[Symbol.dispose]();
  }
}

async function destroy(folder: string): Promise<void> {
  // In this order: without these nothing of the rest can be read.
  for (const name of ['key', 'key.age', 'index.key']) await removeMirrored(join(folder, name));
  for (const name of await readdir(folder)) {
    if (name !== 'lock') await rm(join(folder, name), { recursive: true, force: true });
  }
}

/** A vault without key is a new one only if nothing waits for that key. */
async function requireEmpty(folder: string): Promise<void> {
  const blobs = await readdir(join(folder, 'blobs'));
  if (blobs.length === 0) return;
  throw new VaultDamagedError({
    found: 'the file with the key of the vault is gone, and without it nothing in the vault can be read',
    where: join(folder, 'key'),
    fix: 'restore it from a copy, or begin anew with loam vault destroy',
  });
}
