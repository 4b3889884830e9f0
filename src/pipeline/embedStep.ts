import { stat } from 'node:fs/promises';
import { ndArray } from '../formats/ndArray.js';
import { writeNpz } from '../formats/writeNpz.js';
import { Engine } from '../ggml/engine.js';
import { peakRss } from '../jobs/peakRss.js';
import { eachLayer } from '../model/eachLayer.js';
import { Model } from '../model/model.js';
import { correctLayer } from '../ridge/correctLayer.js';
import { groupExamples } from '../ridge/examples.js';
import { workspaceNodes } from '../ridge/fitRidge.js';
import { followTeacher } from '../ridge/followTeacher.js';
import type { LinearToSolve } from '../ridge/linearSolver.js';
import { Student } from '../ridge/student.js';
import { noFit } from '../ridge/target.js';
import { streamMetric } from '../ridge/throughNorm.js';
import { WalkProgress } from '../ridge/walkProgress.js';
import { thinProgress } from '../tune/thinProgress.js';
import { LoamError } from '../util/errors.js';
import { eventStream } from '../util/eventStream.js';
import { requireFree } from '../util/requireFree.js';
import { requireWritable } from '../util/requireWritable.js';
import { version } from '../util/version.js';
import type { EmbedResult, PipelineEvent } from './events.js';
import { factorsFingerprint, hasFactors, readFactors } from './factorsFolder.js';
import { type ActivationsHeader, type EmbeddedLinear, encodeHeader } from './header.js';
import { indexArrays } from './indexArrays.js';
import { linearArrays } from './linearArrays.js';
import { openActivations } from './openActivations.js';
import type { EmbedOptions } from './options.js';
import { parseLinear } from './parseLinear.js';
import { Recording } from './recording.js';
import { requireCorrectable, requireTokens } from './requireFitting.js';
import { requireOut } from './requireOut.js';
import { resolveBase } from './resolveBase.js';
import { tellSize } from './tellSize.js';

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
): AsyncGenerator<PipelineEvent, EmbedResult, void> {
  return eventStream<PipelineEvent, EmbedResult>((emit, inner) => run(path, options, emit, inner), signal);
}

async function run(
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
  const names = missing.slice(0, 3).map(({ layer, module }) => `blk.${layer}.${module}`);
  throw new LoamError({
    found: `no correction of ${names.join(', ')}${missing.length > 3 ? ` and ${missing.length - 3} more` : ''}`,
    expected: `those of all linears before blk.${target.layer}.${target.module}`,
    where: folder,
    fix: 'solve the linears in order; a correction of rank 0 leaves one as it is',
  });
}
