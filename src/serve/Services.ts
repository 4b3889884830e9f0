import { LoamError } from '../base/errors.js';
import { Mutex } from '../base/lock.js';
import { CATALOG, DEFAULT_MODEL } from '../models/catalogue.js';
import { hashOf, listModels } from '../models/listModels.js';
import type { BackupSummary } from '../store/backup.js';
import { vaultLocked, wrongPassphrase } from '../store/types.js';
import { Vault } from '../store/Vault.js';
import type { Changed, ChangeEvent, Status } from './contract/server.js';
import { OngoingAnswers } from './conversations.js';
import { ParsedDatasets } from './datasets.js';
import { Downloads } from './downloads.js';
import type { Access } from './http/access.js';
import { notFound } from './http/errors.js';
import { EventChannel } from './http/events.js';
import { Idle } from './idle.js';
import { InferenceProcess } from './inference/InferenceProcess.js';
import { JobQueue } from './jobs/JobQueue.js';
import { Probes } from './jobs/probing.js';
import { cannotBeWritten } from './readOnly.js';
import { Uploads } from './uploads.js';

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
  readonly answers = new OngoingAnswers();
  readonly downloads: Downloads;
  readonly uploads: Uploads;
  readonly datasets = new ParsedDatasets();
  readonly idle = new Idle();
  private opened: Vault | undefined;
  private jobQueue: JobQueue | undefined;
  private probing: Probes | undefined;
  /** Whether the rules for this device let it be tested in the background; looked at while something is to be tested. */
  private mayTest = true;
  private started = false;
  /** While a backup takes the place of what is in the vault. */
  private restoring = false;
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
    this.uploads = new Uploads(home);
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
    if (!this.readOnly) this.startWork();
    this.watching = setInterval(() => void this.look().catch(this.unlessStated), WATCH_MS).unref();
  }

  /** @throws LoamError: locked, not-found, vault-damaged */
  get jobs(): JobQueue {
    if (!this.jobQueue) throw this.closed();
    return this.jobQueue;
  }

  /** @throws LoamError: locked, not-found, vault-damaged */
  get probes(): Probes {
    if (!this.probing) throw this.closed();
    return this.probing;
  }

  private startWork(): void {
    this.jobQueue?.start();
    this.probing?.resume();
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
    if (this.restoring) return new LoamError({ code: 'busy', found: 'a backup is being restored' });
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
   * After a while in which nobody asked for anything, as the vault's setting has it: unless a job or a test works with the vault, or
   * waits to. What is being answered was asked for, and holds it open too.
   */
  async lockIfIdle(): Promise<void> {
    const { opened, jobQueue } = this;
    if (!opened || !this.idle.isOver()) return;
    const isNeeded = jobQueue?.current !== undefined || this.probing?.hasWork || this.answers.isBusy;
    if (!isNeeded && opened.locked) await this.lock();
  }

  /** A running job saves its checkpoint, and goes on when the vault is unlocked. @throws LoamError: conflict, if it has no passphrase */
  async lock(): Promise<void> {
    await this.opening.run(async () => {
      if (!this.vault.locked)
        throw new LoamError({ code: 'conflict', found: 'the vault has no passphrase to lock it with' });
      await this.answers[Symbol.asyncDispose]();
      await this.letGo(vaultLocked());
    });
  }

  /**
   * Whoever has the page open may not be whose vault it is: what takes its protection away, or the vault itself, or all of it, asks for the
   * passphrase where there is one.
   * @throws LoamError: wrong-passphrase
   */
  async confirmed(passphrase: string | undefined): Promise<void> {
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

  /**
   * What a backup holds takes the place of everything in the vault. Jobs and answers end once it was found good, and not before.
   * @param current the vault's passphrase, which it keeps, if it has one and something in it
   * @throws LoamError: wrong-passphrase, and what `Vault.restore` throws
   */
  async restore(
    source: AsyncIterable<Uint8Array>,
    { passphrase, replace, current }: { passphrase: string; replace: boolean; current?: string },
  ): Promise<BackupSummary> {
    return await this.opening.run(async () => {
      const { vault } = this;
      if (replace) await this.confirmed(current);
      const before = async () => {
        this.restoring = true;
        const { jobQueue, probing } = this;
        this.jobQueue = undefined;
        this.probing = undefined;
        await this.answers[Symbol.asyncDispose]();
        await probing?.[Symbol.asyncDispose]();
        await this.inference[Symbol.asyncDispose]();
        await jobQueue?.[Symbol.asyncDispose]();
      };
      try {
        return await vault.restore(source, passphrase, { replace, before });
      } finally {
        if (this.restoring) {
          this.restoring = false;
          await this.use(vault);
          this.changedAll();
        }
      }
    });
  }

  private async use(vault: Vault): Promise<void> {
    this.jobQueue = await JobQueue.open(this.home, vault, {
      onChange: ({ id, state, message, stage, progress, options: { method } }) => {
        this.events.emit({
          type: 'job',
          job: { id, state, message, stage, progress, ...(typeof method === 'string' && { method }) },
        });
        if (state === 'done' && this.started) this.probing?.resume();
        this.probing?.look();
      },
      onAdapter: () => this.changed('adapters'),
      onBug: this.onBug,
    });
    const { jobQueue } = this;
    this.probing = new Probes(this.home, vault, {
      onChange: (probing) => this.events.emit({ type: 'probing', probing }),
      onNoted: () => this.changed('adapters'),
      isBusy: () => !this.mayTest || (jobQueue.current !== undefined && jobQueue.current.state !== 'paused'),
    });
    this.opened = vault;
    this.lost = undefined;
    await this.idle.read(vault);
    this.seenElsewhere = vault.writtenElsewhere;
    if (this.readOnly) return;
    await this.jobQueue.endOrphans().catch(this.unlessStated);
    if (this.started) this.startWork();
  }

  /**
   * Other programs work on the vault too: what they have changed is shown, jobs on what they have deleted end, and a vault that has got
   * another key, or is gone, is closed until it can be opened again.
   */
  private async look(): Promise<void> {
    if (this.probing?.hasWork) {
      this.mayTest = (await this.jobQueue?.gate.allows()) ?? false;
      this.probing.look();
    }
    await this.lockIfIdle();
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
    const { jobQueue, opened, probing } = this;
    this.jobQueue = undefined;
    this.probing = undefined;
    this.opened = undefined;
    this.lost = { error, keys: '' };
    this.datasets.clear();
    this.changed('vault');
    await probing?.[Symbol.asyncDispose]();
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

  /** Versions that are tested for private details, or wait for it. */
  testedNow(): Status['probing'] {
    return this.probing?.list() ?? [];
  }

  /** Destroys the vault, opened or not, and makes an empty one; API keys end with it. @throws LoamError: wrong-passphrase, unwritable */
  async destroyEverything(passphrase: string | undefined): Promise<void> {
    await this.opening.run(async () => {
      await this.confirmed(passphrase);
      await this.access.keys.revokeAll();
      const { opened, jobQueue, probing } = this;
      this.opened = undefined;
      this.jobQueue = undefined;
      this.probing = undefined;
      await probing?.[Symbol.asyncDispose]();
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
    this.changedAll();
  }

  private changedAll(): void {
    this.datasets.clear();
    const all = ['vault', 'datasets', 'adapters', 'conversations', 'settings', 'jobs', 'keys'] as const;
    for (const what of all) this.changed(what);
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
    await this.uploads[Symbol.asyncDispose]();
    await this.answers[Symbol.asyncDispose]();
    await this.inference[Symbol.asyncDispose]();
    await this.probing?.[Symbol.asyncDispose]();
    await this.jobQueue?.[Symbol.asyncDispose]();
    await this.opened?.[Symbol.asyncDispose]();
  }
}
