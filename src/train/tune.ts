import { basename, dirname, extname, join, resolve } from 'node:path';
import { describeBase, ggufBase } from '../adapters/base.js';
import { corrections } from '../adapters/lora.js';
import type { AdapterToWrite } from '../adapters/loraGguf.js';
import { openAdapter } from '../adapters/openAdapter.js';
import { LoamError, UsageError } from '../base/errors.js';
import { Run } from '../base/events.js';
import { requireFree, requireWritable } from '../base/io.js';
import { peakRss } from '../base/memory.js';
import { version } from '../base/process.js';
import { Engine } from '../engine/engine.js';
import { releaseMemory } from '../engine/memory.js';
import type { NamedBytes } from '../examples/example.js';
import { measureNll } from '../llama/measureNll.js';
import type { ModuleFactors } from '../model/factors.js';
import { Model } from '../model/model.js';
import { Tokenizer } from '../model/tokenizer.js';
import { resolveModel } from '../models/listModels.js';
import type { TuneEvent, TuneResult } from './events.js';
import { type Fitted, fitModel, type Identity } from './fitModel.js';
import { type Recipe, recipeOptions, type TuneOptions } from './options.js';
import { type AdapterOutput, FileOutput, KeptOutput, type PrivateRun } from './output.js';
import { type PreparedData, prepareData } from './prepare.js';
import { hashWithProgress } from './progress.js';
import { writeReport } from './report/writeReport.js';
import { RunFolder } from './runFolder.js';

/**
 * One tuning run, from files to a measured adapter: the adapter appears under its name only after stock libllama, having loaded it
 * from a file of the same tensors, predicts examples better with it than without: held-out ones where given, else those for
 * validation, else the training examples.
 *
 * @param data file of examples, or its content under a name, in any format that `data/` reads
 * @param secret for a run that may leave nothing readable on the disk; its adapter goes to the keeper if it has one
 * @throws LoamError for a stated failure, StoppedError when `signal` fires
 */
export function tune(
  data: string | NamedBytes,
  options: TuneOptions,
  signal?: AbortSignal,
  secret?: PrivateRun,
): Run<TuneEvent, TuneResult> {
  return new Run((emit, inner) => run(data, options, emit, inner, secret), signal);
}

/** The adapter's path where --out does not name one: beside the data. */
export function defaultOut(data: string): string {
  return join(dirname(data), `${basename(data, extname(data))}-lora.gguf`);
}

/** The file that the adapter is written to; undefined where a keeper is all that takes it. */
function outFile(data: string | NamedBytes, options: TuneOptions, secret: PrivateRun | undefined): string | undefined {
  if (options.out !== undefined) return resolve(options.out);
  if (secret?.keeper) return undefined;
  if (typeof data === 'string') return resolve(defaultOut(data));
  throw new UsageError({
    found: 'no place for the adapter',
    expected: '--keep NAME (in the vault, encrypted) or --out FILE',
  });
}

async function run(
  data: string | NamedBytes,
  options: TuneOptions,
  emit: (event: TuneEvent) => void,
  signal: AbortSignal,
  secret: PrivateRun | undefined,
): Promise<TuneResult> {
  const started = performance.now();
  const out = outFile(data, options, secret);
  const source = await resolveModel(options.model);
  if (out !== undefined) {
    const files = [data, secret?.heldout ?? options.heldout].filter((source) => typeof source === 'string');
    await requireFree(out, [...files, source.path, options.teacher, options.start]);
    await requireWritable(out);
  }
  const heldout = secret?.heldout ?? options.heldout;
  const output: AdapterOutput = secret?.keeper ? new KeptOutput(secret.keeper, out) : new FileOutput(out!);
  using engine = new Engine({ threads: options.threads });
  await using model = await Model.open(engine, source.path);
  using tokenizer = await Tokenizer.open(model.gguf);
  emit({
    type: 'model',
    path: source.path,
    name: model.gguf.string('general.name', ''),
    architecture: model.hyper.family.name,
    layers: model.hyper.layers,
    parameters: [...model.gguf.tensors.values()].reduce((sum, t) => sum + t.shape.reduce((p, n) => p * n, 1), 0),
  });
  const maxTokens = Math.min(options.maxTokens, model.hyper.contextLength);
  const prepared = await prepareData(
    tokenizer,
    { data, heldout, maxTokens, contextLength: model.hyper.contextLength, seed: options.seed },
    emit,
    signal,
  );
  const read = async (path: string | undefined) =>
    path === undefined ? undefined : corrections(await openAdapter(path, ggufBase(model), { only: 'gguf' }));
  const [skill, start] = [await read(options.teacher), await read(options.start)];
  const identity: Identity = {
    data: prepared.hashes.data,
    heldout: prepared.hashes.heldout ?? null,
    model: source.sha256 ?? (await hashWithProgress(source.path, emit, signal)),
    teacher: options.teacher === undefined ? null : await hashWithProgress(options.teacher, emit, signal),
    start: options.start === undefined ? null : await hashWithProgress(options.start, emit, signal),
    options: chosen(options),
    threads: engine.threads,
    version,
  };
  const { set, measuredOn } = measuredSet(prepared);
  const described = await describeBase(model.gguf, tokenizer, identity.model);
  secret?.keeper?.check(described.base);
  const describe = (fit: Fitted): Omit<AdapterToWrite, 'metrics'> => ({
    ...described,
    modules: fit.modules,
    alpha: options.alpha ?? Math.max(1, ...fit.modules.map(({ factors }) => factors.rank)),
    name: output.name,
    recipe: {
      ...identity.options,
      used: fit.used,
      data: identity.data,
      heldout: identity.heldout ?? undefined,
      teacher: identity.teacher ?? undefined,
      start: identity.start ?? undefined,
    },
    version,
  });
  await using folder = await RunFolder.open(output.label, secret?.key);
  const fit = await fitModel(
    { engine, model, tokenizer, prepared, options, skill, start, folder, identity, started, emit, signal },
    async (stopped) => {
      // Unmeasured, which its metadata says.
      await output.keep({ ...describe(stopped), metrics: { stopped: true } }, false);
    },
  );
  emit({ type: 'stage', stage: 'measure', message: 'measuring base and adapter in llama.cpp' });
  const adapter = describe(fit);
  // libllama maps the model once more.
  releaseMemory();
  const measured = await gate(output, source.path, adapter, set, measuredOn, options, emit, signal);
  const result: TuneResult = {
    type: 'result',
    adapter: measured.kept.label,
    method: options.method,
    nll: { base: measured.base, adapted: measured.adapted, teacher: fit.teacherNll?.[measuredOn] },
    measuredOn,
    tokens: measured.tokens,
    seconds: (performance.now() - started) / 1000,
    peakRssBytes: peakRss(),
    bytes: measured.kept.bytes,
    ...fit.training,
  };
  await folder.record(result as unknown as Record<string, unknown>);
  if (options.report !== undefined) {
    const report = options.report;
    await output.trial({ ...adapter, metrics: {} }, async (path) => {
      const described = { result, identity, model, samples: prepared.samples, folder, adapterPath: path };
      await writeReport(report, described, emit, signal);
    });
  }
  await folder.finish();
  await secret?.forget();
  return result;
}

/** The options that decide what an adapter becomes, as given or by default. */
function chosen(options: TuneOptions): Recipe {
  const names = Object.keys(recipeOptions) as (keyof typeof recipeOptions)[];
  return Object.fromEntries(names.map((name) => [name, options[name]])) as Recipe;
}

function measuredSet(prepared: PreparedData) {
  if (prepared.heldout.length > 0) return { set: prepared.heldout, measuredOn: 'heldout' as const };
  if (prepared.validation.length > 0) return { set: prepared.validation, measuredOn: 'validation' as const };
  return { set: prepared.train, measuredOn: 'train' as const };
}

/**
 * The effect gate. The adapter is loaded by stock libllama and measured; only a gain has it kept, with what was measured in its
 * metadata beside the same tensors.
 */
async function gate(
  output: AdapterOutput,
  modelPath: string,
  adapter: Omit<AdapterToWrite, 'metrics'>,
  set: PreparedData['train'],
  measuredOn: TuneResult['measuredOn'],
  options: TuneOptions,
  emit: (event: TuneEvent) => void,
  signal: AbortSignal,
): Promise<{ base: number; adapted: number; tokens: number; kept: { label: string; bytes: number } }> {
  if (!adapter.modules.some(({ factors }: ModuleFactors) => factors.rank > 0)) throw noGain(measuredOn);
  const { base, adapted, tokens } = await output.trial({ ...adapter, metrics: {} }, (path) =>
    measureNll(modelPath, path, set, {
      threads: options.threads,
      signal,
      onProgress: (done, total) => emit({ type: 'progress', stage: 'measure', done, total }),
    }),
  );
  if (adapted === undefined || !(adapted < base)) throw noGain(measuredOn, base, adapted);
  const metrics = { nll: { base, adapted }, measuredOn, tokens, measuredWith: 'llama.cpp' };
  return { base, adapted, tokens, kept: await output.keep({ ...adapter, metrics }, true) };
}

function noGain(measuredOn: string, base?: number, adapted?: number): LoamError {
  const figures =
    base === undefined || adapted === undefined
      ? ''
      : ` (NLL ${base.toFixed(4)} without it, ${adapted.toFixed(4)} with it)`;
  return new LoamError({
    found: `the adapter does not predict the ${measuredOn} examples better than the bare model${figures}, so it was not kept`,
    fix: 'add more examples that look alike, or try another --method, --shots or --epochs',
  });
}
