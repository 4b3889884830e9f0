import type { Engine } from '../../engine/engine.js';
import type { Workspace } from '../../engine/graph.js';
import type { ModuleFactors } from '../../model/factors.js';
import { eachLayer, type Model } from '../../model/model.js';
import { correctLayer, LinearSolver, type RidgeEvent, type RidgeSettings, WalkProgress } from './correctLayer.js';
import { groupExamples, type LearntPart, type Part, type RidgeExample } from './examples.js';
import { LabelSweeps } from './labelSweeps.js';
import { Student } from './student.js';
import { type Followed, noFit, streamMetric } from './target.js';
import { followTeacher, type RidgeProblem, walkingTeacher } from './teacher.js';

export interface RidgeFit {
  modules: ModuleFactors[];
  /** Mean NLL, nats a token, in our own graph; NaN for a part without examples. */
  nll: { teacher: Record<Part, number>; student: Record<LearntPart, number> };
  /** Label sweeps that were kept. */
  sweeps: number;
}

/**
 * Makes a student follow `teacher` layer by layer, then lets `LabelSweeps` follow the labels. The student goes through every layer
 * with the corrections found below it, so the order is kept by walking, whoever the teacher is.
 * @param given corrections that are worn as they are instead of being fitted
 */
export async function fitStudent(
  engine: Engine,
  model: Model,
  workspace: Workspace,
  examples: readonly RidgeExample[],
  teacher: Followed,
  settings: RidgeSettings,
  given: readonly ModuleFactors[],
  progress: WalkProgress,
  emit: (event: RidgeEvent) => void,
  signal?: AbortSignal,
): Promise<RidgeFit> {
  const { layers } = model.hyper;
  const { firstLayer } = settings;
  const groups = groupExamples(examples);
  await using student = await Student.create(model, workspace, examples, groups, progress.add, signal);
  const sweeps = new LabelSweeps(engine, model, workspace, student, examples, settings, emit, progress.add, signal);
  const walked = student.walker.paddedTokens;
  progress.total = layers * teacher.tokens + (firstLayer + 3 * (layers - firstLayer)) * walked + sweeps.work;

  const metric = await streamMetric(model);
  const solver = new LinearSolver(engine, workspace, settings, emit, signal);
  const modules: ModuleFactors[] = [];
  await eachLayer(model, 0, async (layer) => {
    await teacher.advance(layer);
    if (layer.index === settings.firstSweepLayer && settings.sweeps > 0) await student.save();
    if (layer.index < firstLayer) {
      await student.advance(layer);
      return;
    }
    const corrected = await correctLayer(engine, student, layer, async (module, collect) => {
      const own = given.find((other) => other.layer === layer.index && other.module === module);
      if (own) {
        await collect(noFit);
        return own.factors;
      }
      const { linear, fit } = followTeacher(model, layer, module, teacher, metric);
      return await solver.solve(linear, (sinks) => collect(fit(sinks)));
    });
    modules.push(...corrected);
  });

  const teacherNll = await teacher.nll();
  // Its memory is needed now; disposing twice is harmless.
  await teacher[Symbol.asyncDispose]();
  const swept = await sweeps.run(modules);
  return { modules: swept.modules, nll: { teacher: teacherNll, student: swept.nll }, sweeps: swept.sweeps };
}

/** Nodes of the largest graph: forward substitution over the blocks of the widest statistics. */
export const workspaceNodes = 16384;

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
  using workspace = engine.workspace(workspaceNodes);
  const progress = new WalkProgress(emit);
  await using teacher = await walkingTeacher(engine, model, workspace, problem, progress, signal);
  return await fitStudent(engine, model, workspace, problem.examples, teacher, settings, [], progress, emit, signal);
}
