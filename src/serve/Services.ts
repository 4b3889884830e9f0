import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { LoamError, StoppedError } from '../base/errors.js';
import { Mutex } from '../base/lock.js';
import { CATALOG, DEFAULT_MODEL, findModel } from '../models/catalogue.js';
import { fetchModel } from '../models/fetchModel.js';
import { listModels } from '../models/listModels.js';
import { removeSealedFolders } from '../store/runKeys.js';
import { vaultLocked } from '../store/types.js';
import { Vault } from '../store/Vault.js';
import type { Dependents } from './contract/datasets.js';
import type { Download } from './contract/models.js';
import type { Changed, ChangeEvent, Status, Storage } from './contract/server.js';
import { DatasetViews } from './datasets.js';
import { notFound } from './http/errors.js';
import { EventChannel } from './http/events.js';
import { InferenceProcess } from './inference/InferenceProcess.js';
import { isFinal } from './jobs/Job.js';
import { JobQueue } from './jobs/JobQueue.js';

/** Models that are being fetched because somebody asked for them, until they are here or were stopped. */
class Downloads implements AsyncDisposable {
  private readonly running = new Map<string, { controller: AbortController; ended: Promise<void>; at: Download }>();

  constructor(
    private readonly home: string,
    private readonly emit: (event: ChangeEvent) => void,
  ) {}

  of(name: string): Download | undefined {
    return this.running.get(name)?.at;
  }

  /** Begins, or finds it begun. @throws UsageError for a name that the catalogue has not */
  start(name: string): Download {
    const known = this.of(name);
    if (known) return known;
    const entry = findModel(name);
    const at: Download = { name, state: 'running', done: 0, total: entry.size };
    const controller = new AbortController();
    const ended = this.fetch(entry, at, controller.signal).finally(() => this.running.delete(name));
    this.running.set(name, { controller, ended, at });
    return at;
  }

  async stop(name: string): Promise<boolean> {
    const found = this.running.get(name);
    found?.controller.abort();
    await found?.ended;
    return found !== undefined;
  }

  private async fetch(entry: ReturnType<typeof findModel>, at: Download, signal: AbortSignal): Promise<void> {
    const tell = (change: Partial<Download>) => {
      Object.assign(at, change);
      this.emit({ type: 'download', ...at });
    };
    tell({});
    try {
      for await (const event of fetchModel(entry, { home: this.home, signal })) {
        if (event.type === 'progress') tell({ done: event.done, total: event.total, message: undefined });
        if (event.type === 'checking') tell({ message: 'checking what is here already' });
        if (event.type === 'retry' || event.type === 'source-failed') tell({ message: event.reason });
        if (event.type === 'waiting') tell({ message: `process ${event.pid} is fetching it` });
      }
      tell({ state: 'done', done: at.total, message: undefined });
      this.emit({ type: 'changed', what: 'models' });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      tell(error instanceof StoppedError ? { state: 'stopped', message: undefined } : { state: 'failed', message });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.running.keys()].map((name) => this.stop(name)));
  }
}

/** What the handlers work with: the vault once it is open, the engine, downloads, and the events that tell of it all. */
export class Services implements AsyncDisposable {
  readonly events = new EventChannel<ChangeEvent>();
  readonly inference = new InferenceProcess();
  readonly downloads: Downloads;
  readonly datasets = new DatasetViews();
  private opened: Vault | undefined;
  private jobQueue: JobQueue | undefined;
  private started = false;
  /** Guessing passphrases in parallel would take 128 MB each. */
  private readonly unlocking = new Mutex();

  private constructor(
    readonly home: string,
    private readonly onBug: (error: unknown) => void,
  ) {
    this.downloads = new Downloads(home, (event) => this.events.emit(event));
  }

  /** Opens the vault, or makes one, unless it wants a passphrase that is not given: then it waits for `unlock`. */
  static async open(home: string, vault?: Vault, onBug: (error: unknown) => void = () => {}): Promise<Services> {
    const services = new Services(home, onBug);
    if (vault) await services.use(vault);
    else if (Vault.state(home) !== 'passphrase') await services.use(await Vault.open(home));
    return services;
  }

  /** Begins what runs by itself: jobs that wait. */
  start(): void {
    this.started = true;
    this.jobQueue?.start();
  }

  /** @throws LoamError: locked */
  get jobs(): JobQueue {
    if (!this.jobQueue) throw vaultLocked();
    return this.jobQueue;
  }

  get vaultState(): Status['vault'] {
    if (this.opened) return 'open';
    return Vault.state(this.home) === 'passphrase' ? 'locked' : 'absent';
  }

  /** @throws LoamError: locked */
  get vault(): Vault {
    if (!this.opened) throw vaultLocked();
    return this.opened;
  }

  /** @throws LoamError: wrong-passphrase */
  async unlock(passphrase: string): Promise<void> {
    await this.unlocking.run(async () => {
      if (this.opened) return;
      await this.use(await Vault.open(this.home, { passphrase }));
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
    if (this.started) this.jobQueue.start();
  }

  /** Forgets the vault that was destroyed and makes an empty one. */
  private async startAnew(): Promise<void> {
    this.opened = undefined;
    this.jobQueue = undefined;
    this.datasets.clear();
    await this.inference[Symbol.asyncDispose]();
    await this.use(await Vault.open(this.home));
    for (const what of ['vault', 'datasets', 'adapters', 'conversations', 'settings', 'jobs'] as const)
      this.changed(what);
  }

  changed(what: Changed): void {
    this.events.emit({ type: 'changed', what });
  }

  /** Every model, as `loam models list` knows them. */
  async models(): ReturnType<typeof listModels> {
    return await listModels({ home: this.home });
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

  async deleteDataset(id: string, withAdapters: boolean): Promise<void> {
    await this.jobs.endJobsOf(id);
    await this.vault.datasets.delete(id, { withAdapters });
    this.datasets.clear();
    this.changed('datasets');
    if (withAdapters) this.changed('adapters');
  }

  /** Destroys the vault, opened or not, and makes an empty one. */
  async destroyEverything(): Promise<void> {
    await this.jobQueue?.[Symbol.asyncDispose]();
    if (this.opened) await this.opened.destroyEverything();
    else await Vault.destroy(this.home);
    await removeSealedFolders(this.home);
    await this.startAnew();
  }

  async storage(): Promise<Storage> {
    const { models } = await this.models();
    return {
      vault: this.vault.storage(),
      models: models.filter(({ installed }) => installed).reduce((sum, { size }) => sum + size, 0),
      runs: await folderBytes(join(this.home, 'runs')),
      problems: [...this.vault.problems],
    };
  }

  /** An installed model by its name. @throws LoamError that says how to get it */
  async model(name: string): Promise<{ name: string; path: string; sha256: string | null }> {
    const { models } = await this.models();
    const model = models.find((one) => one.name === name);
    if (!model) throw notFound('model of that name');
    if (!model.installed) {
      throw new LoamError({
        code: 'not-found',
        found: model.problem ?? `the model ${name} is not on this device`,
        fix: CATALOG.some((entry) => entry.name === name) ? 'fetch it first' : 'add it again with "loam models add"',
      });
    }
    return model;
  }

  /** Ends everything that is under way. */
  async [Symbol.asyncDispose](): Promise<void> {
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

const KIND = 'settings';
const ID = 'settings';

/** What the user has chosen once for all: a flat object whose keys belong to the front end. */
export class Settings {
  constructor(private readonly vault: Vault) {}

  async get(): Promise<Record<string, unknown>> {
    const bytes = await this.vault.documents.get(KIND, ID);
    return bytes ? (JSON.parse(Buffer.from(bytes).toString('utf8')) as Record<string, unknown>) : {};
  }

  /** Sets the given ones; null takes one away. */
  async change(changes: Readonly<Record<string, unknown>>): Promise<Record<string, unknown>> {
    const all = Object.entries({ ...(await this.get()), ...changes }).filter(([, value]) => value !== null);
    const next = Object.fromEntries(all);
    await this.vault.documents.put(KIND, ID, Buffer.from(JSON.stringify(next)));
    return next;
  }
}
