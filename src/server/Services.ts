import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CATALOG, DEFAULT_MODEL } from '../catalog/catalog.js';
import { listModels } from '../catalog/listModels.js';
import { InferenceProcess } from '../chat/InferenceProcess.js';
import { LoamError } from '../util/errors.js';
import { Mutex } from '../util/mutex.js';
import { VaultLockedError } from '../vault/errors.js';
import type { VaultState } from '../vault/types.js';
import { Vault } from '../vault/Vault.js';
import { DatasetViews } from './DatasetViews.js';
import { Downloads } from './Downloads.js';
import { EventChannel } from './EventChannel.js';
import { HttpError } from './HttpError.js';

/** What changed, so that every open page shows the same. */
export type Changed = 'datasets' | 'adapters' | 'models' | 'conversations' | 'settings' | 'vault' | 'jobs';

/** What the handlers work with: the vault once it is open, the engine, downloads, and the events that tell of it all. */
export class Services implements AsyncDisposable {
  readonly events = new EventChannel();
  readonly inference = new InferenceProcess();
  readonly downloads: Downloads;
  readonly datasets = new DatasetViews();
  private opened: Vault | undefined;
  /** Guessing passphrases in parallel would take 128 MB each. */
  private readonly unlocking = new Mutex();

  private constructor(readonly home: string) {
    this.downloads = new Downloads(home, (event) => this.events.emit(event));
  }

  /** Opens the vault, or makes one, unless it wants a passphrase that is not given: then it waits for `unlock`. */
  static async open(home: string, vault?: Vault): Promise<Services> {
    const services = new Services(home);
    if (vault) await services.use(vault);
    else if (Vault.state(home) !== 'passphrase') await services.use(await Vault.open(home));
    return services;
  }

  /** Begins what runs by itself. */
  start(): void {}

  get vaultState(): VaultState | 'locked' {
    if (this.opened) return 'open';
    return Vault.state(this.home) === 'passphrase' ? 'locked' : 'absent';
  }

  /** @throws VaultLockedError */
  get vault(): Vault {
    if (!this.opened) throw new VaultLockedError();
    return this.opened;
  }

  /** @throws WrongPassphraseError */
  async unlock(passphrase: string): Promise<void> {
    await this.unlocking.run(async () => {
      if (this.opened) return;
      await this.use(await Vault.open(this.home, { passphrase }));
    });
    this.changed('vault');
  }

  private async use(vault: Vault): Promise<void> {
    this.opened = vault;
  }

  /** Forgets the vault that was destroyed and makes an empty one. */
  async startAnew(): Promise<void> {
    this.opened = undefined;
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
  currentJob(): { id: string; state: string } | null {
    return null;
  }

  /** Jobs that learn from a data set. */
  jobsOf(_dataset: string): { id: string; name: string; state: string }[] {
    return [];
  }

  async deleteDataset(id: string, withAdapters: boolean): Promise<void> {
    await this.vault.datasets.delete(id, { withAdapters });
    this.datasets.clear();
    this.changed('datasets');
    if (withAdapters) this.changed('adapters');
  }

  /** Destroys the vault, opened or not, and makes an empty one. */
  async destroyEverything(): Promise<void> {
    if (this.opened) await this.opened.destroyEverything();
    else await Vault.destroy(this.home);
    await this.startAnew();
  }

  async storage() {
    const { models } = await this.models();
    return {
      vault: { ...this.vault.storage() },
      models: models.filter(({ installed }) => installed).reduce((sum, { size }) => sum + size, 0),
      runs: await folderBytes(join(this.home, 'runs')),
      problems: [...this.vault.problems],
    };
  }

  /** An installed model by its name. @throws HttpError 404, LoamError that says how to get it */
  async model(name: string): Promise<{ name: string; path: string; sha256: string | null }> {
    const { models } = await this.models();
    const model = models.find((one) => one.name === name);
    if (!model) throw new HttpError(404, 'there is no model of that name');
    if (!model.installed) {
      throw new LoamError({
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
