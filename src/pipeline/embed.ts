import { stat } from 'node:fs/promises';
import { readAdapter } from '../adapter/readAdapter.js';
import { resolveModel } from '../catalog/resolveModel.js';
import type { NamedArrayToWrite } from '../formats/dtypes.js';
import { ndArray } from '../formats/ndArray.js';
import { writeNpz } from '../formats/writeNpz.js';
import { Engine } from '../ggml/engine.js';
import type { Workspace } from '../ggml/workspace.js';
import { peakRss } from '../jobs/peakRss.js';
import { layersInOrder } from '../model/eachLayer.js';
import { linearShape } from '../model/hyperparameters.js';
import { Model } from '../model/model.js';
import { Tokenizer } from '../model/tokenizer.js';
import { type CorrectedLinear, correctedLinears, correctLayer } from '../ridge/correctLayer.js';
import { groupExamples, type RidgeExample } from '../ridge/examples.js';
import { workspaceNodes } from '../ridge/fitRidge.js';
import { followTeacher } from '../ridge/followTeacher.js';
import { Student } from '../ridge/student.js';
import { streamMetric } from '../ridge/throughNorm.js';
import { type RidgeProblem, walkingTeacher } from '../ridge/walkingTeacher.js';
import { WalkProgress } from '../ridge/walkProgress.js';
import { hashWithProgress } from '../tune/hashWithProgress.js';
import { runOptions } from '../tune/options.js';
import { planExamples } from '../tune/planExamples.js';
import { prepareData } from '../tune/prepare.js';
import { firstAdapted, ridgePreset } from '../tune/ridgeSettings.js';
import { thinProgress } from '../tune/thinProgress.js';
import { eventStream } from '../util/eventStream.js';
import { requireFree } from '../util/requireFree.js';
import { requireWritable } from '../util/requireWritable.js';
import { version } from '../util/version.js';
import type { EmbedResult, PipelineEvent } from './events.js';
import { type ActivationsHeader, encodeHeader, linearsInOrder } from './header.js';
import { indexArrays } from './indexArrays.js';
import { linearArrays } from './linearArrays.js';
import { type EmbedOptions, embedSettings } from './options.js';
import { Recording } from './recording.js';
import { requireOut } from './requireOut.js';
import { tellSize } from './tellSize.js';

type Emit = (event: PipelineEvent) => void;

/**
 * First step of the pipeline: a user's examples to the activations that ridge is solved from, in one .npz file (docs/pipeline.md). The
 * teacher's residual streams are those that `tune` lets the student follow; the student's are of the bare model, without corrections.
 * What is written at any time are the rows of one layer; the file appears under its name when it is complete.
 *
 * @param data file of examples, in any format that `data/` reads
 * @throws LoamError for a stated failure, StoppedError when `signal` fires
 */
export function embed(
  data: string,
  options: EmbedOptions,
  signal?: AbortSignal,
): AsyncGenerator<PipelineEvent, EmbedResult, void> {
  return eventStream<PipelineEvent, EmbedResult>((emit, inner) => run(data, options, emit, inner), signal);
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
    options.teacher === undefined ? undefined : (await readAdapter(options.teacher, { gguf, hyper })).modules;
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
      architecture: hyper.architecture.name,
      name: gguf.string('general.name', ''),
    },
    layers,
    embedding,
    firstLayer,
    linears: linearsInOrder(firstLayer, layers).map(([layer, module]) => ({
      layer,
      module,
      inputs: linearShape(hyper, module)[0],
      normed: hyper.architecture.postNorms,
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
