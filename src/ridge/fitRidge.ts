import type { Engine } from '../ggml/engine.js';
import type { Model } from '../model/model.js';
import { fitStudent, type RidgeFit } from './fitStudent.js';
import type { RidgeEvent, RidgeSettings } from './settings.js';
import { type RidgeProblem, walkingTeacher } from './walkingTeacher.js';
import { WalkProgress } from './walkProgress.js';

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
