import { stat } from 'node:fs/promises';
import { ggufBase } from '../../adapters/base.js';
import { corrections } from '../../adapters/lora.js';
import { openAdapter } from '../../adapters/openAdapter.js';
import { LoamError } from '../../base/errors.js';
import { Run } from '../../base/events.js';
import { listFirst } from '../../base/format.js';
import { requireFree, requireWritable } from '../../base/io.js';
import { peakRss } from '../../base/memory.js';
import { version } from '../../base/process.js';
import { Engine } from '../../engine/engine.js';
import type { Workspace } from '../../engine/graph.js';
import { hasPostNorms } from '../../families/family.js';
import { type NamedArrayToWrite, ndArray } from '../../formats/arrays.js';
import { writeNpz } from '../../formats/npz.js';
import { linearShape } from '../../model/hyperparameters.js';
import { eachLayer, layersInOrder, Model } from '../../model/model.js';
import { Tokenizer } from '../../model/tokenizer.js';
import { resolveModel } from '../../models/listModels.js';
import { runOptions } from '../options.js';
import { planExamples, prepareData } from '../prepare.js';
import { hashWithProgress, thinProgress } from '../progress.js';
import {
  type CorrectedLinear,
  correctedLinears,
  correctLayer,
  type LinearToSolve,
  WalkProgress,
} from '../ridge/correctLayer.js';
import { groupExamples, type RidgeExample } from '../ridge/examples.js';
import { workspaceNodes } from '../ridge/fitRidge.js';
import { Student } from '../ridge/student.js';
import { noFit, streamMetric } from '../ridge/target.js';
import { followTeacher, type RidgeProblem, walkingTeacher } from '../ridge/teacher.js';
import { firstAdapted, ridgePreset } from '../settings.js';
import { factorsFingerprint, hasFactors, readFactors } from './factorsFolder.js';
import { type ActivationsHeader, type EmbeddedLinear, encodeHeader, indexArrays, linearsInOrder } from './header.js';
import { linearArrays, openActivations } from './openActivations.js';
import {
  type EmbedOptions,
  type EmbedResult,
  embedSettings,
  type PipelineEvent,
  requireOut,
  resolveBase,
  tellSize,
} from './options.js';
import { parseLinear, requireCorrectable, requireTokens } from './pack.js';
import { Recording } from './recording.js';

type Emit = (event: PipelineEvent) => void;

/**
 * First step of the pipeline: a user's examples to the activations that ridge is solved from, in one .npz file (docs/pipeline.md). The
 * teacher's residual streams are those that `tune` lets the student follow; the student's are of the bare model, without corrections.
 * What is written at any time are the rows of one layer; the file appears under its name when it is complete.
 *
 * @param data file of examples, in any format that `data/` reads
 * @throws LoamError for a stated failure, StoppedError when `signal` fires
 */
export function embed(data: string, options: EmbedOptions, signal?: AbortSignal): Run<PipelineEvent, EmbedResult> {
  return new Run((emit, inner) => run(data, options, emit, inner), signal);
}

async function run(data: string, options: EmbedOptions, emit: Emit, signal: AbortSignal): Promise<EmbedResult> {
  const started = performance.now();
  const out = requireOut(options.out);
  const chosen = options.model ?? runOptions.model.default;
  const source = await resolveModel(chosen);
  await requireFree(out, [data, source.path, options.heldout, options.teacher]);
  await requireWritable(out);
  using engine = new Engine({ threads: options.threads });
  await using model = await Model.open(engine, source.path);
  using tokenizer = await Tokenizer.open(model.gguf);
  const { hyper, gguf } = model;
  const { layers, embedding, contextLength } = hyper;
  const maxTokens = Math.min(options.maxTokens, contextLength);
  const prepared = await prepareData(
    tokenizer,
    { data, heldout: options.heldout, maxTokens, contextLength, seed: options.seed },
    emit,
    signal,
  );
  const skill =
    options.teacher === undefined
      ? undefined
      : corrections(await openAdapter(options.teacher, ggufBase(model), { only: 'gguf' }));
  const plan = await planExamples(model, tokenizer, prepared, options, ridgePreset);
  const records = [...prepared.records.train, ...prepared.records.validation];
  const walked = plan.examples.filter(({ part }) => part !== 'heldout');
  const firstLayer = firstAdapted(options.layers, layers, Math.ceil(layers / 2));
  const count = (part: RidgeExample['part']) =>
    walked.reduce((sum, example) => sum + (example.part === part ? example.targets.length : 0), 0);
  const header: ActivationsHeader = {
    kind: 'bare',
    loam: version,
    model: {
      source: source.name ?? source.path,
      sha256: source.sha256 ?? (await hashWithProgress(source.path, emit, signal)),
      architecture: hyper.family.name,
      name: gguf.string('general.name', ''),
    },
    layers,
    embedding,
    firstLayer,
    linears: linearsInOrder(firstLayer, layers).map(([layer, module]) => ({
      layer,
      module,
      inputs: linearShape(hyper, module)[0],
      normed: hasPostNorms(hyper.family),
    })),
    dtype: options.f16 ? 'f16' : 'f32',
    teacherOnly: options.teacherOnly,
    rows: { train: count('train'), validation: count('validation') },
    shots: plan.shots.map((shots) => shots.map((sequence) => prepared.records.train[sequence]!)),
    sources: {
      data: prepared.hashes.data,
      heldout: prepared.hashes.heldout ?? null,
      teacher: options.teacher === undefined ? null : await hashWithProgress(options.teacher, emit, signal),
    },
    settings: Object.fromEntries(Object.keys(embedSettings).map((name) => [name, options[name as 'seed']])),
    nll: { teacher: {} },
  };
  await tellSize(out, header, emit);
  emit({ type: 'stage', stage: 'embed', message: 'computing activations, layer by layer' });
  const problem = { examples: plan.examples, prefixes: plan.prefixes, skill };
  using workspace = engine.workspace(workspaceNodes);
  await writeNpz(
    out,
    (async function* () {
      yield* indexArrays(walked, records);
      yield* activations(engine, model, workspace, problem, header, emit, signal);
      yield { name: 'header', ...ndArray(encodeHeader(header)) };
    })(),
  );
  return {
    type: 'result',
    activations: out,
    linears: header.linears.map(({ layer, module }) => ({ layer, module })),
    rows: header.rows,
    bytes: (await stat(out)).size,
    nll: header.nll,
    seconds: (performance.now() - started) / 1000,
    peakRssBytes: peakRss(),
  };
}

/** Walks teacher and student through the model side by side, and leaves the teacher's NLL in the header. */
async function* activations(
  engine: Engine,
  model: Model,
  workspace: Workspace,
  problem: RidgeProblem,
  header: ActivationsHeader,
  emit: Emit,
  signal: AbortSignal,
): AsyncGenerator<NamedArrayToWrite, void, void> {
  const { layers, firstLayer, dtype } = header;
  const { examples } = problem;
  const groups = groupExamples(examples);
  const rows = groups.student.map(({ members }) =>
    members.reduce((sum, member) => sum + examples[member]!.targets.length, 0),
  );
  const progress = new WalkProgress(thinProgress('embed', emit));
  await using teacher = await walkingTeacher(engine, model, workspace, problem, progress, signal);
  await using student = header.teacherOnly
    ? undefined
    : await Student.create(model, workspace, examples, groups, progress.add, signal);
  progress.total =
    layers * teacher.tokens + (student ? (firstLayer + 3 * (layers - firstLayer)) * student.walker.paddedTokens : 0);

  const metric = await streamMetric(model);
  for await (const layer of layersInOrder(model, 0)) {
    await teacher.advance(layer);
    if (layer.index < firstLayer) {
      await student?.advance(layer);
      continue;
    }
    const recordings = new Map<CorrectedLinear, Recording>();
    try {
      const following = (module: CorrectedLinear) => followTeacher(model, layer, module, teacher, metric);
      if (student) {
        await correctLayer(engine, student, layer, async (module, collect) => {
          const recording = await Recording.create(rows, following(module));
          recordings.set(module, recording);
          await collect(recording.fit);
          return undefined;
        });
      }
      for (const module of correctedLinears) {
        const residual = module === 'attn_output' ? teacher.middle : teacher.out;
        yield* linearArrays(following(module).linear, residual, recordings.get(module), rows, dtype);
      }
    } finally {
      for (const recording of recordings.values()) await recording[Symbol.asyncDispose]();
    }
  }
  for (const [part, value] of Object.entries(await teacher.nll())) {
    if (Number.isFinite(value)) header.nll.teacher[part as RidgeExample['part']] = value;
  }
}

/**
 * The first step again, for one linear: the activations of the student that wears the corrections found so far. With it a solver of
 * the user's own keeps the order of `tune`: each linear is solved from what the corrections below it do.
 *
 * @param path a file of activations, which names the model, holds the tokens and what the teacher left
 * @param options `with`: the folder of corrections, which may be missing as long as there are none
 */
export function embedStep(
  path: string,
  options: Pick<EmbedOptions, 'out' | 'with' | 'linear' | 'model' | 'threads' | 'f16'>,
  signal?: AbortSignal,
): Run<PipelineEvent, EmbedResult> {
  return new Run((emit, inner) => runEmbed(path, options, emit, inner), signal);
}

async function runEmbed(
  path: string,
  options: Parameters<typeof embedStep>[1],
  emit: (event: PipelineEvent) => void,
  signal: AbortSignal,
): Promise<EmbedResult> {
  const started = performance.now();
  const out = requireOut(options.out);
  await using file = await openActivations(path);
  const { header, examples } = file;
  if (header.kind === 'step') {
    throw new LoamError({
      found: 'this file holds one step only',
      expected: 'the file that `loam embed` made from the examples',
      where: path,
    });
  }
  const source = await resolveBase(options.model, header.model, path, emit, signal);
  await requireFree(out, [path, source.path]);
  await requireWritable(out);
  using engine = new Engine({ threads: options.threads });
  await using model = await Model.open(engine, source.path);
  requireTokens(file, model.hyper);
  const folder = options.with!;
  const all = (await hasFactors(folder)) ? (await readFactors(folder)).linears : [];
  requireCorrectable(all, header, model.hyper, folder);
  const has = (linear: EmbeddedLinear) =>
    all.some(({ layer, module }) => layer === linear.layer && module === linear.module);
  const missing = header.linears.filter((linear) => !has(linear));
  const target = options.linear === undefined ? missing[0] : parseLinear(options.linear, header.linears);
  const result = { type: 'result', nll: header.nll, rows: header.rows } as const;
  const cost = () => ({ seconds: (performance.now() - started) / 1000, peakRssBytes: peakRss() });
  if (!target) return { ...result, activations: null, linears: [], bytes: 0, ...cost() };
  const below = header.linears.slice(0, header.linears.indexOf(target));
  requireBelow(
    below.filter((linear) => !has(linear)),
    target,
    folder,
  );
  const given = all.filter(({ layer, module }) => below.some((l) => l.layer === layer && l.module === module));

  const step: ActivationsHeader = {
    ...header,
    kind: 'step',
    loam: version,
    linears: [target],
    dtype: options.f16 ? 'f16' : 'f32',
    teacherOnly: false,
    given: factorsFingerprint(given),
  };
  await tellSize(out, step, emit);
  emit({ type: 'stage', stage: 'embed', message: `walking the student to blk.${target.layer}.${target.module}` });
  using workspace = engine.workspace(workspaceNodes);
  const progress = new WalkProgress(thinProgress('embed', emit));
  const groups = groupExamples(examples);
  await using student = await Student.create(model, workspace, examples, groups, progress.add, signal);
  progress.total = (header.firstLayer + 3 * (target.layer + 1 - header.firstLayer)) * student.walker.paddedTokens;
  const rows = file.batches.map((batch) => batch.rows);
  const metric = await streamMetric(model);
  const residual = file.rows(target, 'teacher');
  let recording: Recording | undefined;
  let linear: LinearToSolve | undefined;
  await using _ = { [Symbol.asyncDispose]: async () => recording?.[Symbol.asyncDispose]() };
  await eachLayer(
    model,
    0,
    async (layer) => {
      if (layer.index < header.firstLayer) {
        await student.advance(layer);
        return;
      }
      await correctLayer(engine, student, layer, async (module, collect) => {
        if (layer.index === target.layer && module === target.module) {
          const following = followTeacher(model, layer, module, { middle: residual, out: residual }, metric);
          linear = following.linear;
          recording = await Recording.create(rows, following);
          await collect(recording.fit);
        } else {
          await collect(noFit);
        }
        return given.find((other) => other.layer === layer.index && other.module === module)?.factors;
      });
    },
    target.layer + 1,
  );
  await writeNpz(out, [
    ...indexArrays(examples, file.records),
    ...linearArrays(linear!, residual, recording, rows, step.dtype),
    { name: 'header', ...ndArray(encodeHeader(step)) },
  ]);
  const { layer, module } = target;
  return { ...result, activations: out, linears: [{ layer, module }], bytes: (await stat(out)).size, ...cost() };
}

/** Each linear is solved from what the corrections below it do, so these must be there. */
function requireBelow(missing: readonly EmbeddedLinear[], target: EmbeddedLinear, folder: string): void {
  if (missing.length === 0) return;
  const names = missing.map(({ layer, module }) => `blk.${layer}.${module}`);
  throw new LoamError({
    found: `no correction of ${listFirst(names, 3, ', ')}`,
    expected: `those of all linears before blk.${target.layer}.${target.module}`,
    where: folder,
    fix: 'solve the linears in order; a correction of rank 0 leaves one as it is',
  });
}
