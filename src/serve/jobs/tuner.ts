import { fileURLToPath } from 'node:url';
import type { AdapterToWrite } from '../../adapters/loraGguf.js';
import { LoamError, UsageError } from '../../base/errors.js';
import { defaults, type Option, parseObject } from '../../base/options.js';
import type { NamedBytes } from '../../examples/example.js';
import type { MemorisedReport } from '../../llama/memorised/report.js';
import { hashOf, listModels } from '../../models/listModels.js';
import type { Json } from '../../store/types.js';
import type { Vault } from '../../store/Vault.js';
import type { RunQuote, TuneEvent, TuneResult } from '../../train/events.js';
import { type TuneOptions, tuneOptions } from '../../train/options.js';
import type { Memorised } from '../contract/adapters.js';
import { WorkerProcess } from '../worker.js';
import type { JobRequest } from './Job.js';

/** The process that tunes, as its parent sees it: what it is asked to do, and the questions that it answers besides tuning. */

const program = fileURLToPath(new URL('./tuneWorker.js', import.meta.url));

/** Milliseconds that a stopped run may take to save its checkpoint. */
const STOP_MS = 120_000;

export interface TuneTask {
  data: NamedBytes;
  heldout?: NamedBytes;
  /** Of `tune`, without the paths of adapters. */
  options: TuneOptions;
  /** The files of the adapters that training begins with, and that teaches. */
  adapters: { start?: Uint8Array; teacher?: Uint8Array };
  /** Name of the adapter, and the key that seals what the run leaves on the disk. */
  makes: { name: string; key: Uint8Array };
}

/** Asks an adapter for the private details of what it has learnt. */
interface ProbeTask {
  model: string;
  adapter: Uint8Array;
  name: string;
  data: readonly NamedBytes[];
  /** How long it may take; the findings that count most come first. */
  seconds: number;
}

/** An adapter that a run hands over, with what the vault needs to know of it. */
export interface Kept extends Pick<AdapterToWrite, 'base' | 'recipe' | 'metrics'> {
  bytes: Uint8Array;
  /** False for the best state of a run that was stopped. */
  measured: boolean;
}

type Probing = { type: 'probing'; done: number; total: number };

/** A run asks that its adapter be kept, and is told what to call it. */
export interface TunerTasks {
  tune: { input: TuneTask; event: TuneEvent; question: Kept; answer: string; result: TuneResult };
  quote: {
    input: Pick<TuneTask, 'data' | 'options'>;
    event: never;
    question: never;
    answer: never;
    result: RunQuote;
  };
  probe: { input: ProbeTask; event: Probing; question: never; answer: never; result: MemorisedReport };
}

export type Tuner = WorkerProcess<TunerTasks>;

export function startTuner(home: string): Tuner {
  return new WorkerProcess(program, { does: 'works', stopMs: STOP_MS, env: { LOAM_HOME: home }, background: true });
}

/** Options that the server decides: what a run reads, and where it writes. */
const own: readonly (keyof TuneOptions)[] = [
  'model',
  'out',
  'columns',
  'heldout',
  'teacher',
  'start',
  'resume',
  'restart',
  'report',
];

/** Options of tuning that a job may be given. */
export const jobOptions: Readonly<Record<string, Option>> = Object.fromEntries(
  Object.entries(tuneOptions).filter(([name]) => !(own as readonly string[]).includes(name)),
);

/** Options by their declarations. @throws UsageError that names the option */
export function readJobOptions(options: Record<string, unknown> | undefined): Record<string, unknown> {
  try {
    return parseObject(jobOptions, options ?? {}, 'options');
  } catch (error) {
    // "see --help" is for the command line.
    if (error instanceof UsageError) throw new UsageError({ ...error.fault, fix: undefined });
    throw error;
  }
}

/** Every option of a job's run. */
export function runOptions({ model, options }: Pick<JobRequest, 'model' | 'options'>): TuneOptions {
  return { ...defaults(tuneOptions), ...(options as Partial<TuneOptions>), model };
}

/** A data set's content for a process that has no vault. */
export async function dataOf(vault: Vault, dataset: string): Promise<NamedBytes> {
  return { ...(await vault.datasets.source(dataset)), name: vault.datasets.get(dataset).name };
}

/** What a run would take: measured in a process of its own. @throws LoamError, StoppedError */
export async function quoteJob(
  home: string,
  vault: Vault,
  request: Pick<JobRequest, 'dataset' | 'model' | 'options'>,
  signal: AbortSignal,
): Promise<RunQuote> {
  const task = { data: await dataOf(vault, request.dataset), options: runOptions(request) };
  await using tuner = startTuner(home);
  return await tuner.run('quote', task, { signal }).result;
}

/** Seconds that a version is tested for private details on request. */
const PROBE_SECONDS = 600;

/**
 * Asks a version for the private details of the data sets that it has learnt from and that are still here.
 * @throws LoamError if none is, StoppedError
 */
export async function probeVersion(
  home: string,
  vault: Vault,
  versionId: string,
  onProbing: (event: Probing) => void,
  signal: AbortSignal,
): Promise<void> {
  const { lineage, adapter } = vault.adapters.version(versionId);
  const here = new Set(vault.datasets.list().map(({ id }) => id));
  const data: NamedBytes[] = [];
  for (const { id } of lineage.datasets) if (id !== undefined && here.has(id)) data.push(await dataOf(vault, id));
  if (data.length === 0) {
    throw new LoamError({
      code: 'not-found',
      found: 'the data that this version learnt from is not in the vault, so it cannot be tested',
    });
  }
  const { models } = await listModels({ home });
  const usable = models.filter(({ installed }) => installed);
  for (const model of usable) model.sha256 = await hashOf(model, { home, signal }).result.catch(() => null);
  const model = usable.find(({ sha256 }) => sha256 === lineage.base.sha256);
  if (!model) {
    throw new LoamError({
      code: 'not-found',
      found: `its base model (${lineage.base.name}) is not on this device`,
      fix: 'fetch it first',
    });
  }
  const { name } = vault.adapters.get(adapter);
  const bytes = await vault.adapters.read(versionId);
  const task = { model: model.name, adapter: bytes, name, data, seconds: PROBE_SECONDS };
  await using tuner = startTuner(home);
  await noteMemorised(vault, versionId, await tuner.run('probe', task, { signal }).each(onProbing));
}

/** Results kept beside a version; the worst come first. */
const MAX_RESULTS = 200;

/** Keeps what a probe found beside the version. `reproduced` is what an export asks for. */
export async function noteMemorised(vault: Vault, version: string, report: MemorisedReport): Promise<void> {
  const results = report.results.filter(({ verdict }) => verdict === 'reproduced' || verdict === 'likely');
  const kept: Memorised = {
    ...report,
    reproduced: report.verdicts.reproduced,
    at: new Date().toISOString(),
    results: results.slice(0, MAX_RESULTS),
  };
  await vault.adapters.annotate(version, { memorised: kept as Json });
}
