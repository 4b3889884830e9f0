import type { AdapterToWrite } from '../../adapters/loraGguf.js';
import { checkRules } from '../../base/device/rules.js';
import { UsageError } from '../../base/errors.js';
import { defaults, type Option, parseObject } from '../../base/options.js';
import { programPath } from '../../base/package.js';
import type { NamedBytes } from '../../examples/example.js';
import type { MemorisedReport, ProbedFinding } from '../../llama/memorised/report.js';
import type { Vault } from '../../store/Vault.js';
import type { RunQuote, TuneEvent, TuneResult } from '../../train/events.js';
import { type TuneOptions, tuneOptions } from '../../train/options.js';
import { WorkerProcess } from '../worker.js';
import { datasetsOf, type JobRequest } from './Job.js';

/** The process that tunes, as its parent sees it: what it is asked to do, and the questions that it answers besides tuning. */

const program = programPath('serve/jobs/tuneWorker.js');

/** Milliseconds that a stopped run may take to save its checkpoint. */
const STOP_MS = 120_000;

export interface TuneTask {
  data: readonly NamedBytes[];
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
  /** What was found out before. */
  known: readonly ProbedFinding[];
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
    const values = parseObject(jobOptions, options ?? {}, 'options');
    checkRules(values);
    return values;
  } catch (error) {
    // "see --help" is for the command line.
    if (error instanceof UsageError) throw new UsageError({ ...error.fault, fix: undefined });
    throw error;
  }
}

/** Every option of a job's run. The queue keeps its rules on when it may work (`PrivateRun.rulesAreKept`). */
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
  request: Pick<JobRequest, 'dataset' | 'also' | 'model' | 'options'>,
  signal: AbortSignal,
): Promise<RunQuote> {
  const data = await Promise.all(datasetsOf(request).map((id) => dataOf(vault, id)));
  const task = { data, options: runOptions(request) };
  await using tuner = startTuner(home);
  return await tuner.run('quote', task, { signal }).result;
}
