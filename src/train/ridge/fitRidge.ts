import type { Layer } from '../../model/block.js';
import type { ModuleFactors } from '../../model/factors.js';
import type { RunContext } from '../lab.js';
import type { LearntPart, Part, RidgeExample } from './examples.js';
import { LabelSweeps } from './labelSweeps.js';
import { LinearSolver, type RidgeSettings } from './solver.js';
import { type RidgeKeeper, refill, type Snapshot, type Stores } from './state.js';
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
  keeper?: RidgeKeeper,
): Promise<RidgeFit> {
  using lab = openRidgeLab(context);
  const { resumed } = keeper ?? {};
  const swept = resumed?.state.swept;
  if (swept && resumed.state.ended) return fitOf(swept.teacher, swept.best);
  // After the walk nobody is followed any more.
  await using teacher = swept ? undefined : await Teacher.create(lab, problem);
  if (teacher && resumed) await refill(teacher.held, resumed);
  return await fitStudent(lab, problem.examples, teacher, settings, { keeper });
}

interface FitOptions {
  /** Corrections that are applied as they are instead of being fitted. */
  given?: readonly ModuleFactors[];
  keeper?: RidgeKeeper;
}

/**
 * Makes a student follow `teacher` layer by layer, then lets `LabelSweeps` follow the labels. The student goes through every layer
 * with the corrections found below it, so the order is kept by walking, whoever the teacher is.
 * @param teacher undefined for a fit that goes on with its sweeps
 */
export async function fitStudent(
  lab: RidgeLab,
  examples: readonly RidgeExample[],
  teacher: (Followed & { held?: Stores }) | undefined,
  settings: RidgeSettings,
  { given = [], keeper }: FitOptions = {},
): Promise<RidgeFit> {
  const { model, progress } = lab;
  await using student = await Student.create(lab, examples);
  const sweeps = new LabelSweeps(lab, student, settings, keeper);
  const resumed = keeper?.resumed;
  if (resumed) {
    await student.goOn(resumed);
    ({ done: progress.done, total: progress.total } = resumed.state);
  }
  const end = async (modules: readonly ModuleFactors[], teacherNll: Record<Part, number>) => {
    const best = await sweeps.run(modules, teacherNll);
    const swept = { teacher: teacherNll, size: 0, best };
    const { done, total } = progress;
    await keeper?.afterLayer(() => ({ layer: 0, found: [], done, total, swept, ended: true }), new Map());
    return fitOf(teacherNll, best);
  };
  if (!teacher) {
    const { best, teacher: nll } = resumed!.state.swept!;
    return await end(best.modules, nll);
  }

  const modules = [...(resumed?.state.found ?? [])];
  const solver = new LinearSolver(lab, settings, resumed?.state.lambdas);
  const keep = async (layer: Layer) =>
    await keeper?.afterLayer(
      () => {
        const { done, total } = progress;
        return { layer: layer.index + 1, found: modules, lambdas: solver.chosen, done, total };
      },
      new Map([...(teacher.held ?? []), ...student.held]),
    );
  const { firstLayer } = settings;
  const walk = { teacher, student, firstLayer, begin: resumed?.state.layer, walked: keep };
  if (!resumed) progress.total = walkWork(model.hyper.layers, walk) + sweeps.work;

  const metric = await streamMetric(model);
  const layers = correctLayers(lab, walk, async (layer, module, collect) => {
    if (module !== 'ffn_down') await sweeps.enter(layer.index);
    const own = given.find((other) => other.layer === layer.index && other.module === module);
    if (own) {
      await collect(noFit);
      return own.factors;
    }
    const { linear, fit } = followTeacher(model, layer, module, teacher, metric);
    return await solver.solve(linear, (sinks) => collect(fit(sinks)));
  });
  for await (const { layer, corrections } of layers) {
    modules.push(...corrections);
    await keep(layer);
  }

  const teacherNll = await teacher.nll();
  // Its memory is needed now; disposing twice is harmless.
  await teacher[Symbol.asyncDispose]();
  return await end(modules, teacherNll);
}

function fitOf(teacher: Record<Part, number>, { modules, nll, sweeps }: Snapshot): RidgeFit {
  return { modules: [...modules], nll: { teacher, student: nll }, sweeps };
}
