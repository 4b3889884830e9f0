import { basename, dirname, extname, join, resolve } from 'node:path';
import { describeBase } from '../adapters/base.js';
import { LoamError, UsageError } from '../base/errors.js';
import { Run } from '../base/events.js';
import { requireFree, requireWritable } from '../base/io.js';
import { lowerPriority } from '../base/process.js';
import { releaseMemory } from '../engine/memory.js';
import { defaultThreads } from '../engine/threads.js';
import { type DataSources, listSources } from '../examples/joinDatasets.js';
import { today } from '../model/strftime.js';
import { provenModel } from '../models/listModels.js';
import type { TuneEvent, TuneResult } from './events.js';
import { type Fitted, fitModel } from './fit.js';
import { type DescribedAdapter, gate } from './gate.js';
import { findUnfinished, type Identity, identify, keptOf } from './identity.js';
import { correctionsOf, openRun, spent } from './lab.js';
import type { TuneOptions } from './options.js';
import { type AdapterOutput, FileOutput, KeptOutput, type PrivateRun } from './output.js';
import { writeReport } from './report/writeReport.js';
import { RunFolder } from './runFolder.js';
import { tellUnused } from './unusedOptions.js';
import { whileAllowed } from './whileAllowed.js';

/**
 * One tuning run, from files to a measured adapter: the adapter appears under its name only after stock libllama, having loaded it
 * from a file of the same tensors, predicts examples better with it than without: held-out ones if given, else those for
 * validation, else the training examples.
 *
 * @param data file of examples, or its content under a name, in any format that `loam data` reads; or several of them
 * @param secret for a run that may leave nothing readable on the disk; its adapter goes to the keeper if it has one
 * @throws LoamError for a stated failure, StoppedError when `signal` fires
 */
export function tune(
  data: DataSources,
  options: TuneOptions,
  signal?: AbortSignal,
  secret?: PrivateRun,
): Run<TuneEvent, TuneResult> {
  return new Run((emit, inner) => {
    // From its first stage on the run's folder is its own: what was to be given up there is gone, and later stretches go on.
    let hasBegun = false;
    const tell = (event: TuneEvent) => {
      hasBegun ||= event.type === 'stage';
      emit(event);
    };
    return whileAllowed(secret?.rulesAreKept ? {} : options, emit, inner, ({ signal, worked, isPaused }) => {
      const { budget } = options;
      const left = budget === undefined ? undefined : Math.max(Math.min(1, budget), budget - worked);
      const more = hasBegun ? { restart: false, resume: false } : {};
      return run(data, { ...options, ...more, budget: left }, tell, signal, secret, isPaused);
    });
  }, signal);
}

/** The adapter's path if --out does not name one: beside the data. */
export function defaultOut(data: string): string {
  return join(dirname(data), `${basename(data, extname(data))}-lora.gguf`);
}

/** The file that the adapter is written to; undefined if a keeper alone takes it. */
function outFile(data: DataSources, options: TuneOptions, secret: PrivateRun | undefined): string | undefined {
  if (options.out !== undefined) return resolve(options.out);
  if (secret?.keeper) return undefined;
  const [first] = listSources(data);
  if (typeof first === 'string') return resolve(defaultOut(first));
  throw new UsageError({
    found: 'no place for the adapter',
    expected: '--keep NAME (in the vault, encrypted) or --out FILE',
  });
}

/** Nothing else wants to run (`lowerPriority`). */
const gentlest = 19;

async function run(
  data: DataSources,
  options: TuneOptions,
  emit: (event: TuneEvent) => void,
  signal: AbortSignal,
  secret: PrivateRun | undefined,
  isPaused: () => boolean,
): Promise<TuneResult> {
  const started = performance.now();
  const out = outFile(data, options, secret);
  const heldout = secret?.heldout ?? options.heldout;
  const source = await provenModel(options.model, { signal });
  if (out !== undefined) {
    const files = [...listSources(data), heldout].filter((file) => typeof file === 'string');
    await requireFree(out, [...files, source.path, options.teacher, options.start]);
    await requireWritable(out);
  }
  const output: AdapterOutput = secret?.keeper ? new KeptOutput(secret.keeper, out) : new FileOutput(out!, secret);
  await using folder = await RunFolder.open(output.label, secret?.key);
  const begun = options.restart || !(await folder.hasCheckpoints()) ? undefined : await folder.begun();
  const kept = keptOf(typeof begun === 'object' ? begun : undefined, options);
  if (options.gentle) lowerPriority(gentlest);
  const threads = kept.threads ?? (options.gentle ? Math.ceil(defaultThreads() / 2) : undefined);
  const settings = { ...options, threads, day: kept.day ?? today(), scratch: folder.path };
  await using run = await openRun(source, { data, heldout }, settings, emit, signal);
  tellUnused(run, options);
  const [skill, start] = [await correctionsOf(run, options.teacher), await correctionsOf(run, options.start)];
  const now = await identify(run, options);
  const unfinished = await findUnfinished(run, options, now, folder);
  const identity = unfinished?.identity ?? now;
  const base = await describeBase(run.model.gguf, run.tokenizer, identity.model);
  secret?.keeper?.check(base);
  const describe = ({ modules, used }: Fitted): DescribedAdapter => ({
    base,
    modules,
    alpha: options.alpha ?? Math.max(1, ...modules.map(({ factors }) => factors.rank)),
    name: output.name,
    recipe: recipeOf(identity, used),
  });
  const inputs = { options, skill, start, identity };
  // Unmeasured, which its metadata says.
  const keepBest = async (best: Fitted) => {
    if (isPaused()) return;
    await output.keep({ ...describe(best), metrics: { stopped: true } }, false);
  };
  const fit = await fitModel(run, inputs, { folder, started }, unfinished?.resumable, keepBest);
  emit({ type: 'stage', stage: 'measure', message: 'measuring base and adapter in llama.cpp' });
  const adapter = describe(fit);
  // libllama maps the model once more.
  releaseMemory();
  const measured = await gate(run, output, adapter, {
    threads: identity.threads,
    general: !options.skipGeneral,
    deadline: deadlineOf(options, started),
  }).catch(async (error: unknown) => {
    // The run has ended: other settings are not held up by what it came to.
    if (error instanceof LoamError && error.code === 'no-gain') {
      await attempt(() => folder.finish(), 'the checkpoints of this run are still there', emit);
    }
    throw error;
  });
  const { written, base: before, adapted, measuredOn, tokens, general } = measured;
  const result: TuneResult = {
    type: 'result',
    adapter: written.label,
    method: options.method,
    nll: { base: before, adapted, teacher: fit.teacherNll?.[measuredOn] },
    measuredOn,
    tokens,
    general,
    ...spent(started),
    bytes: written.bytes,
    ...fit.training,
  };
  // The adapter is there: what cannot be written from here on takes nothing from it.
  await attempt(() => folder.record(result), 'the figures of this run are not noted', emit);
  if (options.report !== undefined) {
    const report = options.report;
    const metrics = await folder.metrics();
    await output.trial({ ...adapter, metrics: {} }, (adapterPath) =>
      writeReport(run, report, { result, identity, adapterPath, metrics }),
    );
  }
  await attempt(() => folder.finish(), 'the checkpoints of this run are still there', emit);
  await attempt(async () => await secret?.forget(), 'the key of its checkpoints is still there', emit);
  return result;
}

/** Tells of a stated failure and goes on. */
async function attempt(work: () => Promise<void>, so: string, emit: (event: TuneEvent) => void): Promise<void> {
  await work().catch((error: unknown) => {
    if (!(error instanceof LoamError)) throw error;
    emit({ type: 'warning', message: `${so}: ${error.clause}` });
  });
}

/** How an adapter was made: the options as given, and what the defaults among them became. */
function recipeOf(
  { options, data, heldout, teacher, start, changes }: Identity,
  used: Fitted['used'],
): DescribedAdapter['recipe'] {
  const files = { data, heldout: heldout ?? undefined, teacher: teacher ?? undefined, start: start ?? undefined };
  return { ...options, used, ...files, ...(changes && { resumed: changes }) };
}

function deadlineOf({ budget }: TuneOptions, started: number): number {
  return budget === undefined ? Number.POSITIVE_INFINITY : started + 1000 * budget;
}
