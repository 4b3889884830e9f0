import { createHmac } from 'node:crypto';
import { rm, stat } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { type AdapterToWrite, encodeAdapter, writeAdapter } from '../adapters/loraGguf.js';
import { explainWriteError, publish, writeFileAtomic } from '../base/io.js';
import { loamHome } from '../base/process.js';
import { partialPath } from '../base/unfinished.js';
import { memoryFile } from '../engine/memory.js';
import type { NamedBytes } from '../examples/example.js';
import { referenceTo } from '../store/references.js';
import type { Lineage } from '../store/types.js';
import type { Vault } from '../store/Vault.js';

/** Where the adapter of a run goes: a file, or a keeper that stores it encrypted. */
export interface AdapterOutput {
  /** What messages call it: the path, or a reference. */
  readonly label: string;
  /** The adapter's own name, in its metadata. */
  readonly name: string;
  /** Makes the adapter readable under a path, as long as `use` takes. */
  trial<T>(adapter: AdapterToWrite, use: (path: string) => Promise<T>): Promise<T>;
  /** @param measured whether it passed the effect gate @returns what to call it from now on, and its size in bytes */
  keep(adapter: AdapterToWrite, measured: boolean): Promise<{ label: string; bytes: number }>;
}

/** An adapter file, which appears under its name when it is kept. */
export class FileOutput implements AdapterOutput {
  readonly name: string;

  /** @param secret of a run of which nothing but the adapter itself may become readable on the disk: it is tried in memory only */
  constructor(
    readonly label: string,
    private readonly secret?: Pick<PrivateRun, 'requireSources'>,
  ) {
    this.name = basename(label, extname(label));
  }

  async trial<T>(adapter: AdapterToWrite, use: (path: string) => Promise<T>): Promise<T> {
    if (this.secret) return await inMemory(this.label, adapter, use);
    return await this.candidate(adapter, use);
  }

  async keep(adapter: AdapterToWrite): Promise<{ label: string; bytes: number }> {
    await this.candidate(adapter, async (path) => {
      this.secret?.requireSources?.();
      await publish(path, this.label).catch((error: unknown) => {
        throw explainWriteError(error, this.label);
      });
    });
    return { label: this.label, bytes: (await stat(this.label)).size };
  }

  private async candidate<T>(adapter: AdapterToWrite, use: (path: string) => Promise<T>): Promise<T> {
    const candidate = partialPath(this.label);
    try {
      await writeAdapter(candidate, adapter);
      return await use(candidate);
    } finally {
      // Whatever went wrong above is what the user should hear of.
      await rm(candidate, { force: true }).catch(() => {});
    }
  }
}

async function inMemory<T>(label: string, adapter: AdapterToWrite, use: (path: string) => Promise<T>): Promise<T> {
  await using file = await memoryFile(await encodeAdapter(label, adapter));
  return await use(file.path);
}

/** An adapter that is given to a keeper, and is a file only if `file` names one. */
export class KeptOutput implements AdapterOutput {
  constructor(
    private readonly keeper: Keeper,
    private readonly file: string | undefined,
  ) {}

  get name(): string {
    return this.keeper.name;
  }
  get label(): string {
    return this.keeper.name;
  }

  trial<T>(adapter: AdapterToWrite, use: (path: string) => Promise<T>): Promise<T> {
    return inMemory(this.label, adapter, use);
  }

  async keep(adapter: AdapterToWrite, measured: boolean): Promise<{ label: string; bytes: number }> {
    const bytes = await encodeAdapter(this.label, adapter);
    const label = await this.keeper.keep(bytes, adapter, measured);
    if (this.file !== undefined) await writeFileAtomic(this.file, bytes);
    return { label, bytes: bytes.length };
  }
}

/** What a run needs that may leave nothing readable on the disk. */
export interface PrivateRun {
  /** Seals what the run keeps while it lasts, its checkpoints above all; the same for the same run. */
  key: Uint8Array;
  /** Called at the end of a run that has ended well: nothing needs the key any more. */
  forget(): Promise<void>;
  /** Held-out examples that are not in a file, instead of --heldout. */
  heldout?: string | NamedBytes;
  /** Takes the adapter; if there is none it goes to the file of --out. */
  keeper?: Keeper;
  /** Whoever started the run keeps its rules on when it may work. */
  rulesAreKept?: boolean;
  /** Throws LoamError if what is learnt from was deleted meanwhile: for a run without keeper, which looks itself. */
  requireSources?(): void;
}

interface Keeper {
  /** The adapter's name. */
  name: string;
  /** Called early, with the base model. Throws LoamError if the adapter cannot be kept. */
  check(base: AdapterToWrite['base']): void;
  /**
   * Keeps an adapter (GGUF).
   * @param measured false for the best state of a stopped run
   * @returns what to call it: `vault:me@3`
   */
  keep(
    bytes: Uint8Array,
    adapter: Pick<AdapterToWrite, 'base' | 'recipe' | 'metrics'>,
    measured: boolean,
  ): Promise<string>;
}

/**
 * The run that an adapter came of. Its key lasts until the run has ended well, so a run that is gone on with after a crash has the same
 * id, and a later one of the same settings another.
 */
function runId(key: Uint8Array, { base, recipe }: Pick<AdapterToWrite, 'base' | 'recipe'>): string {
  // Gone on with on another day or with other threads it is the same run.
  const { resumed: _, ...trained } = recipe as Record<string, unknown>;
  return createHmac('sha256', key)
    .update(JSON.stringify(['run', base.sha256, trained]))
    .digest('hex')
    .slice(0, 32);
}

interface VaultRunRequest {
  /** Adapter to add a version to, or a new name; without one the adapter goes to the file of --out. */
  name?: string;
  /** File that the adapter is written to as well, or instead. */
  out?: string;
  /** Ids of the data sets in the vault that are learnt from; none for files, of which the sha256 alone is known. */
  datasets?: readonly string[];
  /** Ids of versions of the vault that training begins with, and that teaches. */
  parent?: string;
  teacher?: string;
  /** Id of the run, which follows from its key and from what was trained unless it is given, and the name of a key of its own. */
  run?: { id: string; key?: string };
}

/** A run whose data or adapter belongs to the vault: its checkpoints are sealed with a key that lies there. */
export async function vaultRun(vault: Vault, request: VaultRunRequest): Promise<PrivateRun> {
  const { name, datasets: ids = [], parent, teacher, run } = request;
  await vault.runKeys.removeStray(loamHome());
  const purpose = {
    datasets: ids,
    parent,
    teacher,
    makes: name === undefined ? { file: `${request.out}` } : { adapter: name },
    run: run?.key,
  };
  const key = await vault.runKeys.get(purpose);
  const forget = () => vault.runKeys.forget(purpose);
  // Of one the hash says what was learnt, left out examples and all.
  const datasets = (sha256: string): Lineage['datasets'] =>
    ids.length > 1 ? ids.map((id) => ({ id, sha256: vault.datasets.get(id).sha256 })) : [{ id: ids[0], sha256 }];
  if (name === undefined) {
    return {
      key,
      forget,
      requireSources: () =>
        vault.adapters.requireSources({ datasets: ids.map((id) => ({ id, sha256: '' })), parent, teacher }),
    };
  }
  return {
    key,
    forget,
    keeper: {
      name,
      check: ({ name: model, sha256 }) => vault.adapters.requireFits(name, { name: model, sha256 }),
      async keep(bytes, adapter, measured) {
        const model = { name: adapter.base.name, sha256: adapter.base.sha256 };
        const lineage: Lineage = {
          base: model,
          datasets: datasets(String(adapter.recipe.data)),
          recipe: adapter.recipe,
          metrics: adapter.metrics,
          parent,
          teacher,
        };
        const made = { id: run?.id ?? runId(key, adapter), ended: measured };
        const version = await vault.adapters.addVersion(name, bytes, lineage, { activate: measured, run: made });
        return referenceTo({ name }, version);
      },
    },
  };
}
