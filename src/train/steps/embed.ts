import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { UnsupportedError } from '../../base/errors.js';
import { Run } from '../../base/events.js';
import { freeBytes, nearestFolder, requireFree, requireFreeSpace, requireWritable } from '../../base/io.js';
import { version } from '../../base/process.js';
import { type NamedArrayToWrite, ndArray } from '../../formats/arrays.js';
import { writeNpz } from '../../formats/npz.js';
import type { Layer } from '../../model/block.js';
import { linearShape } from '../../model/hyperparameters.js';
import { today } from '../../model/strftime.js';
import { provenModel } from '../../models/listModels.js';
import { asStage, correctionsOf, finite, hashWithProgress, modelHash, type OpenedRun, openRun, spent } from '../lab.js';
import { runOptions } from '../options.js';
import { planExamples, type RidgeExample } from '../ridge/examples.js';
import { Student } from '../ridge/student.js';
import { followTeacher, isWeighted, streamMetric } from '../ridge/target.js';
import { type RidgeProblem, Teacher } from '../ridge/teacher.js';
import {
  type CorrectedLinear,
  correctedLinears,
  correctLayers,
  openRidgeLab,
  type RidgeLab,
  walkWork,
} from '../ridge/walk.js';
import { ridgeRoom } from '../room.js';
import { firstAdapted, ridgePreset } from '../settings.js';
import { requireSteps } from './base.js';
import {
  type ActivationsHeader,
  activationBytes,
  batchesOf,
  encodeHeader,
  indexArrays,
  linearsInOrder,
} from './header.js';
import { linearArrays } from './openActivations.js';
import { type EmbedOptions, type EmbedResult, embedSettings, type PipelineEvent, requireOut } from './options.js';
import { Recording } from './recording.js';

type Emit = (event: PipelineEvent) => void;

/**
 * First step of the pipeline: a user's examples to the activations that ridge is solved from, in one .npz file (docs/pipeline.md). The
 * teacher's residual streams are those that `tune` lets the student follow; the student's are of the bare model, without corrections.
 * What is written at any time are the rows of one layer; the file appears under its name when it is complete.
 *
 * @param data file of examples, in any format that `loam data` reads
 * @throws LoamError for a stated failure, StoppedError when `signal` fires
 */
export function embed(data: string, options: EmbedOptions, signal?: AbortSignal): Run<PipelineEvent, EmbedResult> {
  return new Run((emit, inner) => run(data, options, emit, inner), signal);
}

async function run(data: string, options: EmbedOptions, emit: Emit, signal: AbortSignal): Promise<EmbedResult> {
  const started = performance.now();
  const out = requireOut(options.out);
  const { heldout } = options;
  const source = await provenModel(options.model ?? runOptions.model.default, { signal });
  await requireFree(out, [data, source.path, heldout, options.teacher]);
  await requireWritable(out);
  await using opened = await openRun(
    source,
    { data, heldout },
    { ...options, day: today(), scratch: await nearestFolder(out) },
    emit,
    signal,
  );
  requireSteps(opened.model.hyper, source.path);
  if (opened.model.hyper.kinds) {
    throw new UnsupportedError({
      found: 'layers of several kinds',
      expected: 'a model whose layers all have attention, each with keys and values of its own',
      where: source.path,
      fix: 'use `loam tune`, which takes these models too',
    });
  }
  const skill = await correctionsOf(opened, options.teacher);
  const { examples, prefixes, shots } = await planExamples(opened, options, ridgePreset);
  const walked = examples.filter(({ part }) => part !== 'heldout');
  const header = await headerOf(opened, options, walked, shots);
  const room = ridgeRoom(opened.model.hyper, examples, { sweeps: 0 });
  // Of one layer at a time, before it is written.
  const recorded = activationBytes({ ...header, dtype: 'f32' }) / (header.layers - header.firstLayer);
  await tellSize(out, header, emit, room.disk + (header.teacherOnly ? 0 : recorded));
  emit({ type: 'stage', stage: 'embed', message: 'computing activations, layer by layer' });
  const { train, validation } = opened.data.records;
  using lab = openRidgeLab({ model: opened.model, emit: asStage('embed', emit), signal });
  await writeNpz(
    out,
    (async function* () {
      yield* indexArrays(walked, [...train, ...validation]);
      yield* activations(lab, { examples, prefixes, skill }, header);
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
    ...spent(started),
  };
}

async function headerOf(
  opened: OpenedRun,
  options: EmbedOptions,
  walked: readonly RidgeExample[],
  shots: readonly (readonly number[])[],
): Promise<ActivationsHeader> {
  const { source, model, data } = opened;
  const { layers, embedding, family } = model.hyper;
  const firstLayer = firstAdapted(options.layers, layers, Math.ceil(layers / 2));
  const rowsOf = (part: RidgeExample['part']) =>
    walked.reduce((sum, example) => sum + (example.part === part ? example.targets.length : 0), 0);
  return {
    kind: 'bare',
    loam: version,
    model: {
      source: source.name ?? source.path,
      sha256: await modelHash(opened),
      architecture: family.name,
      name: model.gguf.string('general.name', ''),
    },
    layers,
    embedding,
    firstLayer,
    linears: linearsInOrder(firstLayer, layers).map(([layer, module]) => ({
      layer,
      module,
      inputs: linearShape(model.hyper, module, layer)[0],
      normed: isWeighted(model.hyper),
    })),
    dtype: options.f16 ? 'f16' : 'f32',
    teacherOnly: options.teacherOnly,
    rows: { train: rowsOf('train'), validation: rowsOf('validation') },
    shots: shots.map((prefix) => prefix.map((sequence) => data.records.train[sequence]!)),
    sources: {
      data: data.hashes.data,
      heldout: data.hashes.heldout ?? null,
      teacher: options.teacher === undefined ? null : await hashWithProgress(opened, options.teacher),
    },
    settings: {
      ...Object.fromEntries(Object.keys(embedSettings).map((name) => [name, options[name as 'seed']])),
      day: opened.tokenizer.day,
    },
    nll: { teacher: {} },
    given: undefined,
  };
}

/** Tells how many bytes of activations there will be. @param spilt bytes that lie beside them meanwhile @throws LoamError if the disk does not have them */
export async function tellSize(out: string, header: ActivationsHeader, emit: Emit, spilt: number): Promise<void> {
  const bytes = activationBytes(header);
  const rows = header.rows.train + header.rows.validation;
  emit({ type: 'size', rows, linears: header.linears.length, bytes });
  await requireFreeSpace(dirname(out), bytes + spilt, freeBytes, {
    name: 'this file of activations',
    fix: 'free some space, or use --teacher-only, --f16 or fewer --layers',
  });
}

/** Walks teacher and student through the model side by side, and leaves the teacher's NLL in the header. */
async function* activations(
  lab: RidgeLab,
  problem: RidgeProblem,
  header: ActivationsHeader,
): AsyncGenerator<NamedArrayToWrite, void, void> {
  const { model, progress } = lab;
  const { examples } = problem;
  const rows = batchesOf(examples).map((batch) => batch.rows);
  await using teacher = await Teacher.create(lab, problem);
  await using student = header.teacherOnly ? undefined : await Student.create(lab, examples);
  const walk = { teacher, student, firstLayer: header.firstLayer };
  progress.total = walkWork(header.layers, walk);

  const metric = await streamMetric(model);
  const following = (layer: Layer, module: CorrectedLinear) => followTeacher(model, layer, module, teacher, metric);
  const recordings = new Map<CorrectedLinear, Recording>();
  const forget = async () => {
    for (const recording of recordings.values()) await recording[Symbol.asyncDispose]();
    recordings.clear();
  };
  const layers = correctLayers(lab, walk, async (layer, module, collect) => {
    const recording = await Recording.create(rows, following(layer, module), model.engine.scratch);
    recordings.set(module, recording);
    await collect(recording.fit);
    return undefined;
  });
  try {
    for await (const { layer } of layers) {
      for (const module of correctedLinears) {
        const residual = module === 'ffn_down' ? teacher.out : teacher.middle;
        yield* linearArrays(following(layer, module).linear, residual, recordings.get(module), rows, header.dtype);
      }
      await forget();
    }
  } finally {
    await forget();
  }
  header.nll.teacher = finite(await teacher.nll());
}
