import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { LoamError } from '../base/errors.js';
import { Mutex } from '../base/lock.js';
import { CATALOG, DEFAULT_MODEL } from '../models/catalogue.js';
import { hashOf, listModels } from '../models/listModels.js';
import { vaultLocked, wrongPassphrase } from '../store/types.js';
import { Vault } from '../store/Vault.js';
import type { Dependents } from './contract/datasets.js';
import type { Changed, ChangeEvent, Status, Storage } from './contract/server.js';
import { ParsedDatasets } from './datasets.js';
import { Downloads } from './downloads.js';
import type { Access } from './http/access.js';
import { notFound } from './http/errors.js';
import { EventChannel } from './http/events.js';
import { InferenceProcess } from './inference/InferenceProcess.js';
import { isFinal } from './jobs/Job.js';
import { JobQueue } from './jobs/JobQueue.js';
import { withoutPaths } from './paths.js';
import { cannotBeWritten } from './readOnly.js';

/** Milliseconds between two looks at what others have written; each asks the file system for the times of two files. */
const WATCH_MS = 1000;

interface ServicesOptions {
  /** Told of errors that are bugs. */
  onBug?: (error: unknown) => void;
  readOnly?: LoamError;
}

/** What the handlers work with: the vault once it is open, the engine, downloads, and the events that tell of it all. */
export class Services implements AsyncDisposable {
  readonly events = new EventChannel<ChangeEvent>();
  readonly inference = new InferenceProcess();
  readonly downloads: Downloads;
  readonly datasets = new ParsedDatasets();
  private opened: Vault | undefined;
  private jobQueue: JobQueue | undefined;
  private started = false;
  /** Why the vault had to be closed, and the keys with which it was tried to open it again. */
  private lost: { error: unknown; keys: string } | undefined;
  /** The vault is opened and closed by one at a time; and guessing passphrases in parallel would take 128 MB each. */
  private readonly opening = new Mutex();
  private watching: NodeJS.Timeout | undefined;
  private seenElsewhere = 0;

  private readonly onBug: (error: unknown) => void;
  /** What changes are refused with, if the folder cannot be written: then nothing is done by itself either. */
  readonly readOnly: LoamError | undefined;

  constructor(
    readonly home: string,
    readonly access: Access,
    { onBug = () => {}, readOnly }: ServicesOptions = {},
  ) {
    this.onBug = onBug;
    this.readOnly = readOnly;
    this.downloads = new Downloads(home, (event) => this.events.emit(event));
  }

  /** Opens the vault, or makes one, unless it wants a passphrase that is not given: then it waits for `unlock`. */
  async open(openVault?: () => Promise<Vault>): Promise<void> {
    try {
      if (openVault) await this.use(await openVault());
      else if (Vault.state(this.home) !== 'passphrase') await this.use(await Vault.open(this.home));
    } catch (error) {
      // There is none, and none can be made.
      if (!this.readOnly || !cannotBeWritten(error)) throw error;
      this.lost = { error: this.readOnly, keys: '' };
    }
  }

  /** Begins what runs by itself: jobs that wait. */
  start(): void {
    this.started = true;
    if (!this.readOnly) this.jobQueue?.start();
    this.watching = setInterval(() => void this.look().catch(this.unlessStated), WATCH_MS).unref();
  }

  /** @throws LoamError: locked, not-found, vault-damaged */
  get jobs(): JobQueue {
    if (!this.jobQueue) throw this.closed();
    return this.jobQueue;
  }

  get vaultState(): Status['vault'] {
    if (this.opened) return 'open';
    return Vault.state(this.home) === 'passphrase' ? 'locked' : 'absent';
  }

  /** @throws LoamError: locked, not-found, vault-damaged */
  get vault(): Vault {
    if (!this.opened) throw this.closed();
    return this.opened;
  }

  private closed(): unknown {
    return Vault.state(this.home) === 'passphrase' ? vaultLocked() : (this.lost?.error ?? vaultLocked());
  }

  /** @throws LoamError: wrong-passphrase, also while the vault is open; conflict if it has none */
  async unlock(passphrase: string): Promise<void> {
    await this.opening.run(async () => {
      if (!this.opened) await this.use(await Vault.open(this.home, { passphrase }));
      else if (this.opened.locked) await Vault.checkPassphrase(this.home, passphrase);
      else throw new LoamError({ code: 'conflict', found: 'the vault is open and has no passphrase' });
    });
    this.changed('vault');
  }

  /**
   * Whoever has the page open may not be whose vault it is: what takes its protection away, or the vault itself, asks for the passphrase
   * where there is one.
   * @throws LoamError: wrong-passphrase
   */
  private async confirmed(passphrase: string | undefined): Promise<void> {
    if (Vault.state(this.home) !== 'passphrase') return;
    if (passphrase === undefined) throw wrongPassphrase('the passphrase of the vault was not given');
    await Vault.checkPassphrase(this.home, passphrase);
  }

  /** @param next undefined takes the passphrase away @throws LoamError: wrong-passphrase */
  async changePassphrase(current: string | undefined, next: string | undefined): Promise<void> {
    const { vault } = this;
    await this.opening.run(async () => {
      await this.confirmed(current);
      await vault.changePassphrase(next);
    });
    this.changed('vault');
  }

  private async use(vault: Vault): Promise<void> {
    this.jobQueue = await JobQueue.open(this.home, vault, {
      onChange: ({ id, state, message }) => this.events.emit({ type: 'job', job: { id, state, message } }),
      onAdapter: () => this.changed('adapters'),
      onBug: this.onBug,
    });
    this.opened = vault;
    this.lost = undefined;
    this.seenElsewhere = vault.writtenElsewhere;
    if (this.readOnly) return;
    await this.jobQueue.endOrphans().catch(this.unlessStated);
    if (this.started) this.jobQueue.start();
  }

  /**
   * Other programs work on the vault too: what they have changed is shown, jobs on what they have deleted end, and a vault that has got
   * another key, or is gone, is closed until it can be opened again.
   */
  private async look(): Promise<void> {
    await this.opening.run(async () => {
      if (!this.opened) return await this.openAgain();
      let now: number;
      try {
        now = this.opened.writtenElsewhere;
      } catch (error) {
        return await this.letGo(error);
      }
      if (now === this.seenElsewhere) return;
      this.datasets.clear();
      if (!this.readOnly) await this.jobs.endOrphans();
      this.seenElsewhere = now;
      for (const what of ['datasets', 'adapters', 'conversations', 'settings'] as const) this.changed(what);
    });
  }

  /** A stated failure, such as a full disk, is no bug; what is done here is done again later. */
  private readonly unlessStated = (error: unknown): void => {
    if (!(error instanceof LoamError)) this.onBug(error);
  };

  /** After its passphrase was taken away, or a new vault was made. */
  private async openAgain(): Promise<void> {
    const keys = Vault.keys(this.home);
    if (!this.lost || this.lost.keys === keys || Vault.state(this.home) !== 'open') return;
    this.lost = { ...this.lost, keys };
    await this.use(await Vault.open(this.home));
    this.changed('vault');
  }

  /** A running job saves its checkpoint, and goes on when the vault is opened again. */
  private async letGo(error: unknown): Promise<void> {
    const { jobQueue, opened } = this;
    this.jobQueue = undefined;
    this.opened = undefined;
    this.lost = { error, keys: '' };
    this.datasets.clear();
    this.changed('vault');
    await this.inference[Symbol.asyncDispose]();
    // Nothing of it can be written any more.
    await jobQueue?.[Symbol.asyncDispose]().catch(() => {});
    await opened?.[Symbol.asyncDispose]();
  }

  changed(what: Changed): void {
    this.events.emit({ type: 'changed', what });
  }

  /** Every model, as `loam models list` knows them. */
  async models(): ReturnType<typeof listModels> {
    const { home } = this;
    const { models, warnings } = await listModels({ home });
    for (const model of models) {
      // Once after a change. A file that is not what was fetched, or cannot be read, has none.
      if (model.installed) model.sha256 = await hashOf(model, { home }).result.catch(() => null);
    }
    return { models, warnings };
  }

  get defaultModel(): string {
    return DEFAULT_MODEL;
  }

  /** The job that runs, or the next one. */
  currentJob(): Status['job'] {
    const job = this.jobQueue?.current;
    return job ? { id: job.id, state: job.state } : null;
  }

  /** Jobs that wait to learn from a data set, or do. */
  jobsOf(dataset: string): Dependents['jobs'] {
    return this.jobs
      .list()
      .filter((job) => !isFinal(job.state) && (job.dataset === dataset || job.heldout === dataset))
      .map(({ id, name, state }) => ({ id, name, state }));
  }

  /** Deletes a data set, and the jobs that use it end; with adapters, those that use one of these too. */
  async deleteDataset(id: string, withAdapters: boolean): Promise<void> {
    const versions = withAdapters ? this.vault.datasets.dependents(id).map((version) => version.id) : [];
    await this.jobs.endJobsOf(new Set([id, ...versions]));
    await this.vault.datasets.delete(id, { withAdapters });
    this.datasets.clear();
    this.changed('datasets');
    if (withAdapters) this.changed('adapters');
    // One may have been added meanwhile.
    await this.jobs.endOrphans();
    await this.vault.runKeys.removeStray(this.home);
  }

  /** Deletes a version of an adapter, or all of them, and the jobs that begin with it or are taught by it end. */
  async deleteAdapter(id: string, version?: string): Promise<void> {
    const { adapters } = this.vault;
    const versions = version === undefined ? adapters.get(id).versions.map((one) => one.id) : [version];
    await this.jobs.endJobsOf(new Set(versions));
    if (version === undefined) await adapters.delete(id);
    else await adapters.deleteVersion(version);
    this.changed('adapters');
    await this.jobs.endOrphans();
    await this.vault.runKeys.removeStray(this.home);
  }

  /** Destroys the vault, opened or not, and makes an empty one; API keys end with it. @throws LoamError: wrong-passphrase, unwritable */
  async destroyEverything(passphrase: string | undefined): Promise<void> {
    await this.opening.run(async () => {
      await this.confirmed(passphrase);
      await this.access.keys.revokeAll();
      const { opened, jobQueue } = this;
      this.opened = undefined;
      this.jobQueue = undefined;
      this.datasets.clear();
      await jobQueue?.[Symbol.asyncDispose]().catch(this.unlessStated);
      try {
        if (opened) await opened.destroyEverything();
        else await Vault.destroy(this.home);
      } catch (error) {
        // What is still there stays in use.
        this.lost = { error, keys: '' };
        await opened?.[Symbol.asyncDispose]();
        await this.use(await Vault.open(this.home, { passphrase })).catch(this.unlessStated);
        throw error;
      }
      await this.inference[Symbol.asyncDispose]();
      await this.use(await Vault.open(this.home));
    });
    const emptied = ['vault', 'datasets', 'adapters', 'conversations', 'settings', 'jobs', 'keys'] as const;
    for (const what of emptied) this.changed(what);
  }

  async storage(): Promise<Storage> {
    const { models } = await this.models();
    return {
      vault: this.vault.storage(),
      models: models.filter(({ installed }) => installed).reduce((sum, { size }) => sum + size, 0),
      runs: await folderBytes(join(this.home, 'runs')),
      problems: this.vault.problems.map(withoutPaths),
    };
  }

  /** An installed model by its name. @throws LoamError that says how to get it */
  async model(name: string): Promise<{ name: string; path: string; sha256: string | null }> {
    const { models } = await this.models();
    const model = models.find((one) => one.name === name);
    if (!model) throw notFound('model of that name');
    if (!model.installed) {
      throw new LoamError({
        code: model.problem === null ? 'not-found' : 'damaged',
        found: model.problem ?? `the model ${name} is not on this device`,
        fix: CATALOG.some((entry) => entry.name === name) ? 'fetch it first' : 'add it again with "loam models add"',
      });
    }
    return model;
  }

  /** Ends everything that is under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.watching);
    this.events.end();
    await this.downloads[Symbol.asyncDispose]();
    await this.inference[Symbol.asyncDispose]();
    await this.jobQueue?.[Symbol.asyncDispose]();
    await this.opened?.[Symbol.asyncDispose]();
  }
}

async function folderBytes(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  let sum = 0;
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath ?? entry.path, entry.name);
    sum += await stat(path).then(
      ({ size }) => size,
      () => 0,
    );
  }
  return sum;
}
