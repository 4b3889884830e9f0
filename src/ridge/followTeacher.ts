import { linearShape } from '../model/hyperparameters.js';
import type { Layer } from '../model/layer.js';
import type { Model } from '../model/model.js';
import type { CorrectedLinear } from './correctLayer.js';
import type { LearntPart } from './examples.js';
import type { Followed } from './followed.js';
import type { LinearToSolve } from './linearSolver.js';
import { type Fit, type RowSink, teacherFit } from './target.js';
import { outputWeights } from './throughNorm.js';

/** How one linear of a layer is made to follow the teacher: what is to be solved, and how its rows come about. */
export interface Following {
  linear: LinearToSolve;
  fit(sinks: Record<LearntPart, RowSink>): Fit;
}

/** @param metric of `streamMetric` */
export function followTeacher(
  model: Model,
  layer: Layer,
  module: CorrectedLinear,
  teacher: Pick<Followed, 'middle' | 'out'>,
  metric: Float32Array | undefined,
): Following {
  const residual = module === 'attn_output' ? teacher.middle : teacher.out;
  const [inputs, outputs] = linearShape(model.hyper, module);
  const weights = outputWeights(layer, module, metric);
  return {
    linear: { layer: layer.index, module, inputs, outputs, weights },
    fit: (sinks) => teacherFit(residual, outputs, sinks, metric, weights && { weights }),
  };
}
