import type { Workspace } from '../ggml/workspace.js';
import type { LoraParameters, ParameterGroup } from './parameters.js';

export interface AdamWSettings {
  beta1: number;
  beta2: number;
  epsilon: number;
  /** Decoupled from the gradient (Loshchilov and Hutter 2019), times the learning rate. */
  weightDecay: number;
  /** Largest norm of the gradient over all values; larger ones are scaled down to it. Infinity leaves them. */
  clip: number;
  /** Weight of the past in the mean of the values over the steps (Polyak and Juditsky 1992, exponential); 0: the values themselves. */
  averaging: number;
}

/**
 * Early on the mean reaches less far back: at step t over about a third of the steps so far. (A tenth was too short: at a constant
 * rate, with `averaging` 0.97, one epoch of 66 steps ended at 2.53 on the biomedical questions instead of 2.48.)
 */
const averagingDelay = 3;

/**
 * One step of AdamW from the accumulated gradients, which are then zeroed.
 * @param step counts from 1
 * @param scale factor of the accumulated gradients: -1/tokens turns ascent summed over tokens into the mean loss's gradient
 * @returns norm of the (scaled) gradient before clipping; where it is not finite nothing is changed
 */
export async function adamwStep(
  workspace: Workspace,
  parameters: LoraParameters,
  settings: AdamWSettings,
  { step, scale, rateA, rateB }: { step: number; scale: number; rateA: number; rateB: number },
  signal?: AbortSignal,
): Promise<number> {
  const { groupA, groupB } = parameters;
  const measure = workspace.begin();
  const squares = [groupA, groupB].map((group) => measure.output(measure.sum(measure.sqr(group.gradient))));
  await measure.compute(signal);
  const norm = Math.abs(scale) * Math.sqrt(squares.reduce((sum, cell) => sum + cell.toFloat32()[0]!, 0));
  if (Number.isFinite(norm)) {
    const factor = norm > settings.clip ? scale * (settings.clip / norm) : scale;
    const g = workspace.begin();
    const apply = (group: ParameterGroup, rate: number) => {
      const { beta1, beta2, epsilon, weightDecay } = settings;
      const unbias = (beta: number) => 1 / (1 - beta ** step);
      const numbers = Float32Array.of(rate, beta1, beta2, epsilon, weightDecay, unbias(beta1), unbias(beta2));
      const gradient = g.scale(group.gradient, factor);
      g.run(g.adamwStep(group.values, gradient, group.first, group.second, g.input('f32', [7], numbers)));
    };
    apply(groupA, rateA);
    apply(groupB, rateB);
    const past = Math.min(settings.averaging, step / (averagingDelay + step));
    for (const { values, average } of [groupA, groupB]) {
      g.run(past > 0 ? g.addInplace(average, g.scale(g.sub(values, average), 1 - past)) : g.copy(values, average));
    }
    // Not stopped on the way: half a step would be neither the state before nor the one after.
    await g.compute();
  }
  parameters.zeroGradients();
  return norm;
}
