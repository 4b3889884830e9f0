import type { ModuleFactors } from '../../model/factors.js';
import type { RunContext } from '../lab.js';
import type { LearntPart, Part, RidgeExample } from './examples.js';
import { LabelSweeps } from './labelSweeps.js';
import { LinearSolver, type RidgeSettings } from './solver.js';
import { Student } from './student.js';
import { type Followed, followTeacher, noFit, streamMetric } from './target.js';
import { type RidgeProblem, Teacher } from './teacher.js';
import { correctLayers, openRidgeLab, type RidgeEvent, type RidgeLab, walkWork } from './walk.js';

export interface RidgeFit {
  modules: ModuleFactors[];
  /** Mean NLL, nats per token, in our own graph; NaN for a part without examples. */
  nll: { teacher: Record<Part, number>; student: Record<LearntPart, number> };
  /** Label sweeps that were kept. */
  sweeps: number;
}

/**
 * Fits low-rank corrections by forward passes only, in two stages (docs/method.md).
 *
 * First the student is made to follow the teacher: layer by layer over all examples, so that each layer is fitted on the activations
 * that the corrections before it produce. Teacher and student walk in lock-step: the weights of one layer and the activations
 * between two layers are all that is held. Then `LabelSweeps` lets the upper layers follow the labels.
 */
export async function fitRidge(
  context: RunContext<RidgeEvent>,
  problem: RidgeProblem,
  settings: RidgeSettings,
): Promise<RidgeFit> {
  using lab = openRidgeLab(context);
  await using teacher = await Teacher.create(lab, problem);
  return await fitStudent(lab, problem.examples, teacher, settings);
}

/**
 * Makes a student follow `teacher` layer by layer, then lets `LabelSweeps` follow the labels. The student goes through every layer
 * with the corrections found below it, so the order is kept by walking, whoever the teacher is.
 * @param given corrections that are applied as they are instead of being fitted
 */
export async function fitStudent(
  lab: RidgeLab,
  examples: readonly RidgeExample[],
  teacher: Followed,
  settings: RidgeSettings,
  given: readonly ModuleFactors[] = [],
): Promise<RidgeFit> {
  const { model, progress } = lab;
  await using student = await Student.create(lab, examples);
  const sweeps = new LabelSweeps(lab, student, settings);
  const walk = { teacher, student, firstLayer: settings.firstLayer };
  progress.total = walkWork(model.hyper.layers, walk) + sweeps.work;

  const metric = await streamMetric(model);
  const solver = new LinearSolver(lab, settings);
  const layers = correctLayers(lab, walk, async (layer, module, collect) => {
    if (module === 'attn_output') await sweeps.enter(layer);
    const own = given.find((other) => other.layer === layer.index && other.module === module);
    if (own) {
      await collect(noFit);
      return own.factors;
    }
    const { linear, fit } = followTeacher(model, layer, module, teacher, metric);
    return await solver.solve(linear, (sinks) => collect(fit(sinks)));
  });
  const modules: ModuleFactors[] = [];
  for await (const { corrections } of layers) modules.push(...corrections);

  const teacherNll = await teacher.nll();
  // Its memory is needed now; disposing twice is harmless.
  await teacher[Symbol.asyncDispose]();
  const swept = await sweeps.run(modules);
  return { modules: swept.modules, nll: { teacher: teacherNll, student: swept.nll }, sweeps: swept.sweeps };
}
