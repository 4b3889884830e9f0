import { rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { describeBase } from '../adapter/describeBase.js';
import { measureNll } from '../adapter/measureNll.js';
import { readAdapter } from '../adapter/readAdapter.js';
import { type AdapterToWrite, writeAdapter } from '../adapter/writeAdapter.js';
import { resolveModel } from '../catalog/resolveModel.js';
import { Engine } from '../ggml/engine.js';
import { peakRss } from '../jobs/peakRss.js';
import { RunFolder } from '../jobs/runFolder.js';
import type { ModuleFactors } from '../model/lora.js';
import { Model } from '../model/model.js';
import { Tokenizer } from '../model/tokenizer.js';
import { LoamError } from '../util/errors.js';
import { eventStream } from '../util/eventStream.js';
import { requireFree } from '../util/requireFree.js';
import { requireWritable } from '../util/requireWritable.js';
import { version } from '../util/version.js';
import { explainWriteError } from '../util/writeFileAtomic.js';
import type { TuneEvent, TuneResult } from './events.js';
import { type Fitted, fitModel, type Identity } from './fitModel.js';
import { hashWithProgress } from './hashWithProgress.js';
import { type Recipe, recipeOptions, type TuneOptions } from './options.js';
import { type PreparedData, prepareData } from './prepare.js';
import { writeReport } from './writeReport.js';

/**
 * One tuning run, from files to a measured adapter: the adapter appears under its name only after stock libllama, having loaded it
 * from a file of the same tensors, predicts examples better with it than without: held-out ones where given, else those for
 * validation, else the training examples.
 *
 * @param data file of examples, in any format that `data/` reads
 * @throws LoamError for a stated failure, StoppedError when `signal` fires
 */
export function tune(
  data: string,
  options: TuneOptions,
  signal?: AbortSignal,
): AsyncGenerator<TuneEvent, TuneResult, void> {
  return eventStream<TuneEvent, TuneResult>((emit, inner) => run(data, options, emit, inner), signal);
}

/** The adapter's path where --out does not name one: beside the data. */
export function defaultOut(data: string): string {
  return join(dirname(data), `${basename(data, extname(data))}-lora.gguf`);
}

async function run(
  data: string,
  options: TuneOptions,
  emit: (event: TuneEvent) => void,
  signal: AbortSignal,
): Promise<TuneResult> {
  const started = performance.now();
  const out = resolve(options.out ?? defaultOut(data));
  const source = await resolveModel(options.model);
  await requireFree(out, [data, source.path, options.heldout, options.teacher, options.start]);
  await requireWritable(out);
  using engine = new Engine({ threads: options.threads });
  await using model = await Model.open(engine, source.path);
  using tokenizer = await Tokenizer.open(model.gguf);
  emit({
    type: 'model',
    path: source.path,
    name: model.gguf.string('general.name', ''),
    architecture: model.hyper.architecture.name,
    layers: model.hyper.layers,
    parameters: [...model.gguf.tensors.values()].reduce((sum, t) => sum + t.shape.reduce((p, n) => p * n, 1), 0),
  });
  const maxTokens = Math.min(options.maxTokens, model.hyper.contextLength);
  const prepared = await prepareData(
    tokenizer,
    { data, heldout: options.heldout, maxTokens, contextLength: model.hyper.contextLength, seed: options.seed },
    emit,
    signal,
  );
  const read = async (path: string | undefined) =>
    path === undefined ? undefined : (await readAdapter(path, { gguf: model.gguf, hyper: model.hyper })).modules;
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
  const describe = async (fit: Fitted): Promise<Omit<AdapterToWrite, 'metrics'>> => ({
    ...(await describeBase(model.gguf, tokenizer, identity.model)),
    modules: fit.modules,
    alpha: options.alpha ?? Math.max(1, ...fit.modules.map(({ factors }) => factors.rank)),
    name: basename(out, extname(out)),
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
  await using folder = await RunFolder.open(out);
  const fit = await fitModel(
    { engine, model, tokenizer, prepared, options, skill, start, folder, identity, started, emit, signal },
    async (stopped) => {
      await writeStopped(out, await describe(stopped));
    },
  );
  emit({ type: 'stage', stage: 'measure', message: 'measuring base and adapter in llama.cpp' });
  const adapter = await describe(fit);
  const measured = await gate(out, source.path, adapter, set, measuredOn, options, emit, signal);
  const result: TuneResult = {
    type: 'result',
    adapter: out,
    method: options.method,
    nll: { base: measured.base, adapted: measured.adapted, teacher: fit.teacherNll?.[measuredOn] },
    measuredOn,
    tokens: measured.tokens,
    seconds: (performance.now() - started) / 1000,
    peakRssBytes: peakRss(),
    bytes: (await stat(out)).size,
    ...fit.training,
  };
  await folder.record(result as unknown as Record<string, unknown>);
  if (options.report !== undefined) {
    await writeReport(options.report, { result, identity, model, samples: prepared.samples, folder }, emit, signal);
  }
  await folder.finish();
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

/** The best state of a run that the user stopped, under the adapter's name: unmeasured, which its metadata says. */
async function writeStopped(out: string, adapter: Omit<AdapterToWrite, 'metrics'>): Promise<void> {
  const candidate = join(dirname(out), `.${basename(out)}.${process.pid}.candidate`);
  try {
    await writeAdapter(candidate, { ...adapter, metrics: { stopped: true } });
    await rename(candidate, out).catch((error: unknown) => {
      throw explainWriteError(error, out);
    });
  } finally {
    await rm(candidate, { force: true }).catch(() => {});
  }
}

/**
 * The effect gate. The file is written beside its place, loaded by stock libllama, and measured; only a gain moves it to its name.
 * What was measured is then stored in it: the same tensors are written again with the figures in the metadata.
 */
async function gate(
  out: string,
  modelPath: string,
  adapter: Omit<AdapterToWrite, 'metrics'>,
  set: PreparedData['train'],
  measuredOn: TuneResult['measuredOn'],
  options: TuneOptions,
  emit: (event: TuneEvent) => void,
  signal: AbortSignal,
): Promise<{ base: number; adapted: number; tokens: number }> {
  if (!adapter.modules.some(({ factors }: ModuleFactors) => factors.rank > 0)) throw noGain(measuredOn);
  const candidate = join(dirname(out), `.${basename(out)}.${process.pid}.candidate`);
  try {
    await writeAdapter(candidate, { ...adapter, metrics: {} });
    const { base, adapted, tokens } = await measureNll(modelPath, candidate, set, {
      threads: options.threads,
      signal,
      onProgress: (done, total) => emit({ type: 'progress', stage: 'measure', done, total }),
    });
    if (adapted === undefined || !(adapted < base)) throw noGain(measuredOn, base, adapted);
    await writeAdapter(candidate, {
      ...adapter,
      metrics: { nll: { base, adapted }, measuredOn, tokens, measuredWith: 'llama.cpp' },
    });
    await rename(candidate, out).catch((error: unknown) => {
      throw explainWriteError(error, out);
    });
    return { base, adapted, tokens };
  } finally {
    // Whatever went wrong above is what the user should hear of.
    await rm(candidate, { force: true }).catch(() => {});
  }
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
