import type { Engine } from '../ggml/engine.js';
import type { Workspace } from '../ggml/workspace.js';
import { eachLayer } from '../model/eachLayer.js';
import type { Layer } from '../model/layer.js';
import { byLayer, type Factors, type ModuleFactors, PlacedLora } from '../model/lora.js';
import type { Model } from '../model/model.js';
import type { Walker } from '../model/walker.js';
import { groupExamples, type LearntPart, type Part, type RidgeExample } from './examples.js';
import { Gram } from './gram.js';
import { LabelSweeps } from './labelSweeps.js';
import { reducedRankRidge, truncate } from './reducedRank.js';
import { walkedNll } from './rowsNll.js';
import type { RidgeEvent, RidgeSettings } from './settings.js';
import { Student } from './student.js';
import { type Fit, teacherFit } from './target.js';
import { Teacher } from './teacher.js';
import { ValidationRows } from './validationRows.js';

export interface RidgeProblem {
  examples: readonly RidgeExample[];
  /** Token sequences that `RidgeExample.prefix` refers to. */
  prefixes: readonly Int32Array[];
  /** Skill adapter that the teacher wears. */
  skill?: readonly ModuleFactors[];
}

export interface RidgeFit {
  modules: ModuleFactors[];
  /** Mean NLL, nats a token, in our own graph; NaN for a part without examples. */
  nll: { teacher: Record<Part, number>; student: Record<LearntPart, number> };
  /** Label sweeps that were kept. */
  sweeps: number;
}

/** λ is chosen anew in every so many layers and kept in between: it changes slowly with depth, and solving is dear in wide models. */
const lambdaEvery = 4;
/** Nodes of the largest graph: forward substitution over the blocks of the widest statistics. */
const workspaceNodes = 16384;

/**
 * Fits low-rank corrections by forward passes only, in two stages (docs/method.md).
 *
 * First the student is made to follow the teacher: layer by layer over all examples, so that each layer is fitted on the activations
 * that the corrections before it produce. Teacher and student walk in lock-step: the weights of one layer and the activations
 * between two layers are all that is held. Then `LabelSweeps` lets the upper layers follow the labels.
 */
export async function fitRidge(
  engine: Engine,
  model: Model,
  problem: RidgeProblem,
  settings: RidgeSettings,
  emit: (event: RidgeEvent) => void,
  signal?: AbortSignal,
): Promise<RidgeFit> {
  const { examples } = problem;
  const { layers, embedding, heads, headDim, feedForward } = model.hyper;
  const { firstLayer } = settings;
  using workspace = engine.workspace(workspaceNodes);
  const groups = groupExamples(examples);
  let done = 0;
  let total = 0;
  const onBatch = (tokens: number) => {
    done += tokens;
    emit({ type: 'progress', done, total });
  };
  await using teacher = await Teacher.create(
    model,
    workspace,
    examples,
    groups.teacher,
    problem.prefixes,
    onBatch,
    signal,
  );
  await using student = await Student.create(model, workspace, examples, groups.student, onBatch, signal);
  const sweeps = new LabelSweeps(engine, model, workspace, student, examples, settings, emit, onBatch, signal);
  total =
    layers * teacher.tokens + (firstLayer + 3 * (layers - firstLayer)) * student.walker.paddedTokens + sweeps.work;

  const skill = byLayer(problem.skill ?? [], layers);
  const modules: ModuleFactors[] = [];
  const lambdas = new Map<string, number>();
  await eachLayer(model, 0, async (layer) => {
    using placed = new PlacedLora(engine, skill[layer.index]!);
    await teacher.advance(layer, placed.lora);
    if (layer.index === settings.firstSweepLayer && settings.sweeps > 0) await student.save();
    if (layer.index < firstLayer) await student.advance(layer);
    else modules.push(...(await follow(layer)));
  });

  const teacherNll = await measure(teacher.walker);
  // Its memory is needed now; disposing twice is harmless.
  await teacher[Symbol.asyncDispose]();
  const swept = await sweeps.run(modules);
  return { modules: swept.modules, nll: { teacher: teacherNll, student: swept.nll }, sweeps: swept.sweeps };

  async function measure(walker: Walker) {
    using head = await model.head();
    const of = (part: Part) => walkedNll(model, workspace, head, walker, examples, part, signal);
    return { train: await of('train'), validation: await of('validation'), heldout: await of('heldout') };
  }

  async function follow(layer: Layer): Promise<ModuleFactors[]> {
    const fitted: ModuleFactors[] = [];
    const fit = async (
      module: 'attn_output' | 'ffn_down',
      inputs: number,
      residual: Teacher['middle'],
      collect: (fit: Fit) => Promise<void>,
    ) => {
      using train = new Gram(engine, inputs, embedding);
      const validation = new ValidationRows();
      await collect(teacherFit(residual, embedding, { train, validation }));
      const known = (layer.index - firstLayer) % lambdaEvery === 0 ? undefined : lambdas.get(module);
      const candidates = known === undefined ? settings.lambdas : [known];
      const choice = await choose(engine, workspace, train, validation, candidates, settings.rank, signal);
      const { factors, lambda, error } = choice;
      lambdas.set(module, lambda);
      emit({ type: 'fitted', layer: layer.index, module, rank: factors.rank, lambda, error });
      fitted.push({ layer: layer.index, module, factors });
    };
    await fit('attn_output', heads * headDim, teacher.middle, (f) => student.attend(layer, f));
    using attention = new PlacedLora(engine, fitted);
    await fit('ffn_down', feedForward, teacher.out, (f) => student.middle(layer, attention.lora, f));
    using both = new PlacedLora(engine, fitted);
    await student.finish(layer, both.lora);
    return fitted;
  }
}

/** Solves for each λ and keeps the λ and rank with the smallest validation error; none better than no correction gives rank 0. */
async function choose(
  engine: Engine,
  workspace: Workspace,
  train: Gram,
  validation: ValidationRows,
  lambdas: readonly number[],
  rank: number,
  signal?: AbortSignal,
): Promise<{ factors: Factors; lambda: number; error?: number }> {
  let best: { factors: Factors; lambda: number; error?: number } | undefined;
  const judged = validation.rows > 0;
  for (const lambda of judged ? lambdas : lambdas.slice(0, 1)) {
    const { factors, validationCurve } = await reducedRankRidge(engine, workspace, train, {
      lambda,
      rank,
      validation,
      signal,
    });
    if (!validationCurve) return { factors, lambda };
    const kept = validationCurve.reduce((low, error, r) => (error < validationCurve[low]! ? r : low), 0);
    const error = validationCurve[kept]!;
    if (!best || error < best.error!) best = { factors: truncate(factors, kept), lambda, error };
  }
  return best!;
}
