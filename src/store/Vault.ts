import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { type ErrorCode, isDiskFull, LoamError } from '../base/errors.js';
import { leaveNoCore } from '../engine/core.js';
import { AdapterStore } from './adapters.js';
import { type BackupSummary, type RestoreOptions, requireEmpty, restoreBackup, writeBackup } from './backup.js';
import { Contents } from './contents.js';
import { DatasetStore } from './datasets.js';
import { DocumentStore } from './documents.js';
import { VaultFiles, vaultFolder } from './files.js';
import type { EntryType } from './indexContent.js';
import { READER_PATIENCE_MS, VaultLock } from './lock.js';
import { keyState, newRootKey, type ReadKey, readRootKey, tidyRootKey, writeRootKey } from './rootKey.js';
import { RunKeys, removeSealedFolders } from './runKeys.js';
import type { VaultState, VaultStorage } from './types.js';
import { VaultIndex } from './vaultIndex.js';

/** A vault that cannot be written, or is being written by a process that hangs, can still be read. */
const cannotWrite: ReadonlySet<ErrorCode> = new Set(['unwritable', 'disk-full', 'busy']);

/**
 * The store of a person's private things: data sets, adapters with their versions, documents; encrypted, see docs/vault.md. Several
 * processes may have one vault open. What only asks the index is synchronous; what touches contents or writes is not.
 */
export class Vault implements AsyncDisposable {
  readonly adapters: AdapterStore;
  readonly datasets: DatasetStore;
  readonly documents: DocumentStore;
  readonly runKeys: RunKeys;
  /** What was mended when it was opened, a sentence each. */
  readonly notes: string[] = [];
  private readonly contents: Contents;
  /** Contents that no entry names. */
  private unnamed = 0;

  private constructor(
    private readonly home: string,
    private readonly files: VaultFiles,
    private readonly index: VaultIndex,
  ) {
    const contents = new Contents(index, files.blobs);
    this.contents = contents;
    this.adapters = new AdapterStore(contents);
    this.datasets = new DatasetStore(contents, this.adapters);
    this.documents = new DocumentStore(contents);
    this.runKeys = new RunKeys(this.documents);
  }

  /** Whether `home` has a vault, and what opens it. */
  static state(home: string): VaultState {
    return keyState(new VaultFiles(vaultFolder(home)));
  }

  /** Does what needs a little room on the disk; if that is full, with room from the vault's reserve. */
  static async withRoom<T>(home: string, work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        if (!isDiskFull(error) || attempt === 3) throw error;
        await new VaultFiles(vaultFolder(home)).shrinkReserve();
      }
    }
  }

  /** Changes when the files with the key of the vault do. */
  static keys(home: string): string {
    const files = new VaultFiles(vaultFolder(home));
    return `${files.signature('key')}; ${files.signature('key.age')}`;
  }

  /**
   * Opens the vault of `home` (LOAM_HOME); makes one, with a passphrase if one is given, if there is none. One that cannot be written
   * (a read-only or a full disk) is opened as it is.
   * @throws LoamError: locked without the passphrase that it has, wrong-passphrase, vault-damaged
   */
  static async open(home: string, { passphrase }: { passphrase?: string } = {}): Promise<Vault> {
    leaveNoCore();
    const files = new VaultFiles(vaultFolder(home));
    const isThere = keyState(files) !== 'absent';
    await files.make().catch((error: unknown) => {
      if (!isThere) throw error;
    });
    // Outside the lock: the passphrase takes its time.
    const known = isThere ? await readRootKey(files, passphrase) : undefined;
    try {
      return await new VaultLock(files).run(async () => {
        const isNew = keyState(files) === 'absent';
        const read = isNew ? undefined : (known ?? (await readRootKey(files, passphrase)));
        const root = read?.key ?? newRootKey();
        // The index first: a vault without key is not there yet, and the next attempt replaces what this one left.
        const index = await VaultIndex.open(files, root, isNew);
        const vault = new Vault(home, files, index);
        if (isNew) await writeRootKey(files, root, passphrase);
        await vault.tidy(read);
        return vault;
      }, known && READER_PATIENCE_MS);
    } catch (error) {
      if (!known || !(error instanceof LoamError) || !cannotWrite.has(error.code)) throw error;
      return new Vault(home, files, await VaultIndex.open(files, known.key, false));
    }
  }

  /** Mends what can be mended and ends what crashes have left undone. Call it under the lock. */
  private async tidy(read: ReadKey | undefined): Promise<void> {
    if (this.index.older)
      this.notes.push('one of the two copies of the index was older than the other; the newer one counts');
    if (read) await tidyRootKey(this.files, read);
    await this.index.tidy();
    await this.files.sweep();
    if (this.index.problems.length === 0) this.unnamed = (await this.contents.sweep()).length;
  }

  /** What was found damaged or put back, a sentence each; all else can be used. */
  get problems(): readonly string[] {
    const { unnamed } = this;
    const problems = [...this.index.problems];
    if (keyState(this.files) === 'keyless') {
      problems.push(
        'the file with the key of the vault is gone: as long as this runs, setting or removing a passphrase writes it anew; afterwards nothing can be read',
      );
    }
    if (unnamed === 0) return problems;
    const contents = `${unnamed} ${unnamed === 1 ? 'content' : 'contents'}`;
    return [
      ...problems,
      `the index does not name ${contents} of the vault: an older index may have been put back; nothing of it is removed unless you say so (loam vault status --sweep)`,
    ];
  }

  /** Removes the contents that no entry names. @returns how many */
  async removeUnnamed(): Promise<number> {
    return await this.index.lock.run(async () => {
      const unnamed = await this.contents.sweep();
      await this.files.blobs.remove(unnamed);
      this.unnamed = 0;
      return unnamed.length;
    });
  }

  /**
   * A number that changes when another process has changed something.
   * @throws LoamError: locked, not-found or vault-damaged, if its key was changed or it was destroyed by another one
   */
  get writtenElsewhere(): number {
    return this.index.writtenElsewhere;
  }

  /** Whether it wants a passphrase. */
  get locked(): boolean {
    return keyState(this.files) === 'passphrase';
  }

  /**
   * Whether somebody knows the passphrase of a vault that has one.
   * @throws LoamError: wrong-passphrase, vault-damaged
   */
  static async checkPassphrase(home: string, passphrase: string): Promise<void> {
    await readRootKey(new VaultFiles(vaultFolder(home)), passphrase);
  }

  /** Sets, changes or (undefined) takes away the passphrase. Keys are wrapped anew, contents stay as they are. */
  async changePassphrase(next: string | undefined): Promise<void> {
    const root = newRootKey();
    await this.index.replaceRoot(root, () => writeRootKey(this.files, root, next));
  }

  storage(): VaultStorage {
    const sum = (type: EntryType) =>
      this.index.all(type).reduce((total, { blob }) => total + (blob ? this.files.blobs.bytes(blob.name) : 0), 0);
    const index = this.files.controlBytes();
    const byKind = { datasets: sum('dataset'), adapters: sum('version'), documents: sum('document'), index };
    return { bytes: this.files.blobs.allBytes() + index, byKind };
  }

  /** Reads every content. @returns a sentence for each that is damaged, the index's own among them */
  async check(): Promise<string[]> {
    const problems = [...this.problems];
    const attempt = async (read: () => Promise<unknown>) => {
      try {
        await read();
      } catch (error) {
        if (!(error instanceof LoamError) || error.code !== 'vault-damaged') throw error;
        problems.push(error.clause);
      }
    };
    for (const { id } of this.datasets.list()) await attempt(() => this.datasets.read(id));
    for (const { versions } of this.adapters.list())
      for (const { id } of versions) await attempt(() => this.adapters.read(id));
    for (const { kind, id } of this.documents.list()) await attempt(() => this.documents.get(kind, id));
    return problems;
  }

  /**
   * Everything in it as one encrypted file, see backup.ts.
   * @param told what is in it, once the last byte was made
   */
  backup(passphrase: string, told?: (summary: BackupSummary) => void): AsyncIterable<Uint8Array> {
    return writeBackup(this.contents, passphrase, told);
  }

  /** @throws LoamError: confirm, if restoring would replace something */
  requireEmpty(): void {
    requireEmpty(this.contents);
  }

  /** What a backup holds takes the place of everything here; throws as `restoreBackup` does. No run may use what is here then. */
  async restore(
    source: AsyncIterable<Uint8Array>,
    passphrase: string,
    options?: RestoreOptions,
  ): Promise<BackupSummary> {
    const summary = await restoreBackup(this.contents, source, passphrase, options);
    await this.runKeys.removeStray(this.home);
    return summary;
  }

  /** Destroys the keys, then everything, and what stopped runs on it have left. The vault cannot be used afterwards. */
  async destroyEverything(): Promise<void> {
    await this.index.lock.run(() => this.files.destroy());
    await removeSealedFolders(this.home);
    await this.index[Symbol.asyncDispose]();
  }

  /** The same for a vault whose passphrase is lost, or that is damaged. */
  static async destroy(home: string): Promise<void> {
    const files = new VaultFiles(vaultFolder(home));
    if (existsSync(files.folder)) {
      await new VaultLock(files).run(() => files.destroy());
      await rm(files.folder, { recursive: true, force: true });
    }
    await removeSealedFolders(home);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.index[Symbol.asyncDispose]();
  }
}
