import { stat } from 'node:fs/promises';
import { LoamError, UsageError } from '../../base/errors.js';
import { Run } from '../../base/events.js';
import { listFirst } from '../../base/format.js';
import { nearestFolder, readStart, requireFree, requireWritable } from '../../base/io.js';
import { flagOf } from '../../base/options.js';
import { version } from '../../base/process.js';
import { ndArray } from '../../formats/arrays.js';
import { writeNpz } from '../../formats/npz.js';
import type { ModuleFactors } from '../../model/factors.js';
import { asStage, openModel, spent } from '../lab.js';
import type { LinearToSolve } from '../ridge/solver.js';
import { Student } from '../ridge/student.js';
import { followTeacher, noFit, streamMetric } from '../ridge/target.js';
import { correctedLinears, correctLayers, linearName, openRidgeLab, type RidgeLab, walkWork } from '../ridge/walk.js';
import { ridgeRoom } from '../room.js';
import { requireCorrectable, requireTokens, resolveBase } from './base.js';
import { embed, tellSize } from './embed.js';
import { factorsFingerprint, hasFactors, readFactors } from './factorsFolder.js';
import { type ActivationsHeader, activationBytes, type EmbeddedLinear, encodeHeader, indexArrays } from './header.js';
import { type ActivationsFile, linearArrays, openActivations } from './openActivations.js';
import { type EmbedOptions, type EmbedResult, embedOptions, type PipelineEvent, requireOut } from './options.js';
import { Recording } from './recording.js';

/** What still means something if the examples come from a file of activations. */
const stepOptions = ['out', 'with', 'linear', 'model', 'threads', 'f16'] as const;
type StepOptions = Pick<EmbedOptions, (typeof stepOptions)[number]>;

/**
 * `embedStep` for a file of activations, `embed` for one of examples.
 * @param given names of the options that were given, not defaulted
 * @throws UsageError for options that mean nothing for such a file
 */
export async function embedFile(
  path: string,
  options: EmbedOptions,
  given: ReadonlySet<string>,
  signal?: AbortSignal,
): Promise<Run<PipelineEvent, EmbedResult>> {
  const start = await readStart(path, 4).catch(() => undefined);
  if (start?.toString('latin1') !== 'PK\x03\x04') {
    if (options.with === undefined && options.linear === undefined) return embed(path, options, signal);
    throw new UsageError({
      found: `${options.with === undefined ? '--linear' : '--with'}, and ${path} is not a file of activations`,
      expected: 'one that `loam embed` made',
    });
  }
  if (options.with === undefined) {
    throw new UsageError({
      found: `${path} is an archive, perhaps of activations`,
      expected: 'a file of examples, or --with DIR',
    });
  }
  const allowed: readonly string[] = stepOptions;
  const other = [...given].find((name) => name in embedOptions && !allowed.includes(name));
  if (other !== undefined) {
    throw new UsageError({ found: `${flagOf(other)}, which is settled in ${path}`, fix: 'leave it out' });
  }
  return embedStep(path, options, signal);
}

/**
 * The first step again, for one linear: the activations of the student with the corrections found so far. With it a solver of the
 * user's own keeps the order of `tune`: each linear is solved from what the corrections below it do.
 *
 * @param path a file of activations, which names the model, holds the tokens and what the teacher left
 * @param options `with`: the folder of corrections, which may be missing as long as there are none
 */
export function embedStep(path: string, options: StepOptions, signal?: AbortSignal): Run<PipelineEvent, EmbedResult> {
  return new Run((emit, inner) => run(path, options, emit, inner), signal);
}

async function run(
  path: string,
  options: StepOptions,
  emit: (event: PipelineEvent) => void,
  signal: AbortSignal,
): Promise<EmbedResult> {
  const started = performance.now();
  const out = requireOut(options.out);
  await using file = await openActivations(path);
  const { header } = file;
  if (header.kind === 'step') {
    throw new LoamError({
      code: 'wrong-format',
      found: 'this file holds one step only',
      expected: 'the file that `loam embed` made from the examples',
      where: path,
    });
  }
  const source = await resolveBase(options.model, header.model, path, { emit, signal });
  await requireFree(out, [path, source.path]);
  await requireWritable(out);
  await using opened = await openModel(
    source,
    { threads: options.threads, scratch: await nearestFolder(out) },
    emit,
    signal,
  );
  const { model } = opened;
  requireTokens(file, model.hyper);
  const folder = options.with!;
  const all = (await hasFactors(folder)) ? (await readFactors(folder)).linears : [];
  requireCorrectable(all, header, model.hyper, folder);
  const missing = header.linears.filter((linear) => !all.some(same(linear)));
  const target = options.linear === undefined ? missing[0] : parseLinear(options.linear, header.linears);
  const result = { type: 'result', nll: header.nll, rows: header.rows } as const;
  if (!target) return { ...result, activations: null, linears: [], bytes: 0, ...spent(started) };
  const below = header.linears.slice(0, header.linears.indexOf(target));
  requireBelow(
    below.filter((linear) => missing.includes(linear)),
    target,
    folder,
  );
  const given = all.filter((module) => below.some(same(module)));

  const step: ActivationsHeader = {
    ...header,
    kind: 'step',
    loam: version,
    linears: [target],
    dtype: options.f16 ? 'f16' : 'f32',
    teacherOnly: false,
    given: factorsFingerprint(given),
  };
  const room = ridgeRoom(model.hyper, file.examples, { teaches: false, sweeps: 0 });
  await tellSize(out, step, emit, room.disk + activationBytes(step));
  emit({ type: 'stage', stage: 'embed', message: `walking the student to ${linearName(target)}` });
  using lab = openRidgeLab({ model, emit: asStage('embed', emit), signal });
  const { linear, recording } = await record(lab, file, target, given);
  await using _ = recording;
  const rows = file.batches.map((batch) => batch.rows);
  await writeNpz(out, [
    ...indexArrays(file.examples, file.records),
    ...linearArrays(linear, file.rows(target, 'teacher'), recording, rows, step.dtype),
    { name: 'header', ...ndArray(encodeHeader(step)) },
  ]);
  const { layer, module } = target;
  return {
    ...result,
    activations: out,
    linears: [{ layer, module }],
    bytes: (await stat(out)).size,
    ...spent(started),
  };
}

/** Walks the student, with the corrections of `given`, to one linear and records its rows. */
async function record(
  lab: RidgeLab,
  file: ActivationsFile,
  target: EmbeddedLinear,
  given: readonly ModuleFactors[],
): Promise<{ linear: LinearToSolve; recording: Recording }> {
  const { model, progress } = lab;
  await using student = await Student.create(lab, file.examples);
  const walk = { student, firstLayer: file.header.firstLayer, end: target.layer + 1 };
  progress.total = walkWork(walk.end, walk);
  const rows = file.batches.map((batch) => batch.rows);
  const metric = await streamMetric(model);
  const residual = file.rows(target, 'teacher');
  let found: { linear: LinearToSolve; recording: Recording } | undefined;
  const layers = correctLayers(lab, walk, async (layer, module, collect) => {
    if (layer.index === target.layer && module === target.module) {
      const following = followTeacher(model, layer, module, { middle: residual, out: residual }, metric);
      found = {
        linear: following.linear,
        recording: await Recording.create(rows, following, lab.model.engine.scratch),
      };
      await collect(found.recording.fit);
    } else {
      await collect(noFit);
    }
    return given.find(same({ layer: layer.index, module }))?.factors;
  });
  try {
    for await (const _ of layers);
    return found!;
  } catch (error) {
    await found?.recording[Symbol.asyncDispose]();
    throw error;
  }
}

type Place = { layer: number; module: string };
const same = (one: Place) => (other: Place) => linearName(one) === linearName(other);

/** Each linear is solved from what the corrections below it do, so these must be there. */
function requireBelow(missing: readonly EmbeddedLinear[], target: EmbeddedLinear, folder: string): void {
  if (missing.length === 0) return;
  throw new LoamError({
    code: 'not-found',
    found: `no correction of ${listFirst(missing.map(linearName), 3, ', ')}`,
    expected: `those of all linears before ${linearName(target)}`,
    where: folder,
    fix: 'solve the linears in order; a correction of rank 0 leaves one as it is',
  });
}

/** A linear by its weight's name, `blk.15.ffn_down`, among those that a file has. */
function parseLinear(name: string, linears: readonly EmbeddedLinear[]): EmbeddedLinear {
  const match = /^(?:blk\.)?(\d{1,4})\.(\w+)$/.exec(name);
  const found = linears.find(({ layer, module }) => layer === Number(match?.[1]) && module === match?.[2]);
  if (found) return found;
  const [first, last] = [linears[0]!.layer, linears.at(-1)!.layer];
  throw new UsageError({
    found: JSON.stringify(name),
    expected: `blk.N.${correctedLinears[0]} or blk.N.${correctedLinears[1]}, N from ${first} to ${last}`,
    where: '--linear',
  });
}
