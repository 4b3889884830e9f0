import type { Model } from '../../model/model.js';
import type { StreamWay } from '../../model/slices/ways.js';
import type { LinearToSolve } from '../ridge/solver.js';
import { raised } from '../ridge/target.js';

/** What stands between a linear of a model without a family and the residual stream, as `target.ts` has it of one with a family. */

/** Where a norm stands behind linears, the stream is measured as the last norm sees it, as on our own graph (`streamMetric`). */
export async function metricOf(model: Model, ways: readonly StreamWay[]): Promise<Float32Array | undefined> {
  if (ways.every(({ norm }) => norm === undefined)) return undefined;
  return raised((await model.vector(model.normName)).map(Math.abs));
}

/** By what each output of a linear, or its normed output, is multiplied on its way into the stream. */
export async function weightsOf(model: Model, { outputs, scale, weights: names }: StreamWay): Promise<Float32Array> {
  const weights = new Float32Array(outputs).fill(scale);
  for (const name of names) {
    const values = await model.vector(name);
    for (let i = 0; i < outputs; i++) weights[i]! *= values[i]!;
  }
  return weights;
}

/** What is solved of a linear: see `outputWeights`, which has the same from a family's description. */
export async function linearOf(model: Model, way: StreamWay, metric: Float32Array | undefined): Promise<LinearToSolve> {
  const { layer, inputs, outputs } = way;
  const weights = (await weightsOf(model, way)).map((weight, i) => weight * (metric?.[i] ?? 1));
  const isPlain = weights.every((weight) => weight === 1);
  // A linear of any name.
  const module = way.module as LinearToSolve['module'];
  return { layer, module, inputs, outputs, weights: isPlain ? undefined : raised(weights) };
}
