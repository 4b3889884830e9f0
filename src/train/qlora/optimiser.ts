import { hash32, Random } from '../../base/random.js';
import type { Graph, Workspace } from '../../engine/graph.js';
import type { Operations } from '../../engine/operations.js';
import type { Tensor } from '../../engine/tensor.js';
import type { LayerLinear } from '../../families/family.js';
import { type Batch, groupSequences } from '../../model/batch.js';
import { type Hyperparameters, linearShape } from '../../model/hyperparameters.js';
import type { LoraParameters, ParameterGroup } from './parameters.js';
import { modulesAt } from './trainable.js';
import type { Masks } from './trainStep.js';

/** β1, β2 and ε of Adam as everyone uses them (Kingma and Ba 2015). */
export const adam = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 } as const;

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

/** Rows of values at once, a megabyte. */
const partRows = 256;

/**
 * One step of AdamW from the accumulated gradients, which are then zeroed.
 * @param step counts from 1
 * @param scale factor of the accumulated gradients: -1/tokens turns ascent summed over tokens into the mean loss's gradient
 * @returns norm of the (scaled) gradient before clipping; if it is not finite nothing is changed
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
  const squares = [groupA, groupB].flatMap(({ gradient }) =>
    parts(measure, gradient).map((part) => measure.output(measure.sum(measure.sqr(part)))),
  );
  await measure.compute(signal);
  const norm = Math.abs(scale) * Math.sqrt(squares.reduce((sum, cell) => sum + cell.toFloat32()[0]!, 0));
  if (Number.isFinite(norm)) {
    const factor = norm > settings.clip ? scale * (settings.clip / norm) : scale;
    const g = workspace.begin();
    const apply = (group: ParameterGroup, rate: number) => {
      const { beta1, beta2, epsilon, weightDecay } = settings;
      const unbias = (beta: number) => 1 / (1 - beta ** step);
      const numbers = Float32Array.of(rate, beta1, beta2, epsilon, weightDecay, unbias(beta1), unbias(beta2));
      const gradient = g.scaleInplace(group.gradient, factor);
      g.run(g.adamwStep(group.values, gradient, group.first, group.second, g.input('f32', [7], numbers)));
    };
    apply(groupA, rateA);
    apply(groupB, rateB);
    const past = Math.min(settings.averaging, step / (averagingDelay + step));
    for (const { values, average } of [groupA, groupB]) {
      const means = parts(g, average);
      parts(g, values).forEach((now, i) => {
        const mean = means[i]!;
        g.run(past > 0 ? g.addInplace(mean, g.scale(g.sub(now, mean), 1 - past)) : g.copy(now, mean));
      });
    }
    // Not stopped on the way: half a step would be neither the state before nor the one after.
    await g.compute();
  }
  parameters.zeroGradients();
  return norm;
}

/** A group's values, `partRows` rows at a time: what is computed of them is never there of all at once. */
function parts(ops: Operations, flat: Tensor): Tensor[] {
  const [width, rows] = flat.ne;
  const count = Math.ceil(rows / partRows);
  return Array.from({ length: count }, (_, i) =>
    ops.view(flat, [width, Math.min(partRows, rows - i * partRows)], { offset: i * partRows * flat.nb[1] }),
  );
}

/**
 * Learning rate of step 1..total: linear warm-up, then half a cosine down to `floor` (Loshchilov and Hutter 2017).
 * @returns a factor of the peak rate
 */
export function rateAt(step: number, total: number, warmup: number, floor: number): number {
  if (step <= warmup) return step / warmup;
  const done = Math.min(1, (step - warmup) / Math.max(1, total - warmup));
  return floor + (1 - floor) * 0.5 * (1 + Math.cos(Math.PI * done));
}

/** Random streams: the order of examples, and that of steps. */
const streams = { examples: 0xba7c, steps: 0x57e9 } as const;
/** Steps whose examples are sorted together: long ones meet long ones, so that little is padded, and chance still mixes them. */
const bucketSteps = 8;

/** One optimiser step: its examples in groups that are computed one after the other and whose gradients add up. */
export type StepPlan = Batch[];

/**
 * The steps of one epoch: every sequence once, in an order that is a pure function of (seed, epoch).
 * @param lengths tokens of each sequence
 * @param batch sequences per step
 * @param tokens tokens computed at once, at most (a longer sequence stands alone)
 */
export function planEpoch(
  lengths: readonly number[],
  { batch, tokens, seed, epoch }: { batch: number; tokens: number; seed: number; epoch: number },
): StepPlan[] {
  const order = new Random(seed, streams.examples + epoch).shuffle(lengths.map((_, i) => i));
  const steps: number[][] = [];
  for (let at = 0; at < order.length; at += batch * bucketSteps) {
    const bucket = order.slice(at, at + batch * bucketSteps).sort((i, j) => lengths[i]! - lengths[j]! || i - j);
    for (let from = 0; from < bucket.length; from += batch) steps.push(bucket.slice(from, from + batch));
  }
  return new Random(seed, streams.steps + epoch).shuffle(steps).map((members) =>
    groupSequences(
      members.map((i) => lengths[i]!),
      tokens,
    ).map((group) => ({ ...group, members: group.members.map((i) => members[i]!) })),
  );
}

/** Linears that read the same activations share a mask. */
const inputOf: Record<LayerLinear, number> = {
  attn_q: 0,
  attn_k: 0,
  attn_v: 0,
  attn_qkv: 0,
  attn_output: 1,
  'shortconv.in_proj': 0,
  'shortconv.out_proj': 1,
  attn_gate: 0,
  ssm_beta: 0,
  ssm_alpha: 0,
  ssm_out: 1,
  ffn_gate: 2,
  ffn_up: 2,
  ffn_down: 3,
  inp_gate: 4,
  proj: 5,
};

/** Masks of LoRA dropout (Srivastava et al. 2014): a pure function of (seed, step, micro-batch). */
export function dropoutMasks(
  h: Hyperparameters,
  modules: readonly LayerLinear[],
  rate: number,
  words: { seed: number; step: number; micro: number },
): Masks {
  const threshold = rate * 0x1_0000_0000;
  const kept = 1 / (1 - rate);
  return (g: Graph, layer: number, tokens: number) => {
    const made = new Map<number, Tensor>();
    const mask = (module: LayerLinear) => {
      const which = inputOf[module];
      const known = made.get(which);
      if (known) return known;
      const [inputs] = linearShape(h, module, layer);
      const values = new Float32Array(inputs * tokens);
      // xorshift32 (Marsaglia 2003): a hash for every value would cost more than the layer.
      let state = hash32(words.seed, words.step, words.micro, layer, which) || 1;
      for (let i = 0; i < values.length; i++) {
        state ^= state << 13;
        state ^= state >>> 17;
        state ^= state << 5;
        values[i] = state >>> 0 >= threshold ? kept : 0;
      }
      const tensor = g.input('f32', [inputs, tokens], values);
      made.set(which, tensor);
      return tensor;
    };
    return Object.fromEntries(modulesAt(h, layer, modules).map((module) => [module, mask(module)]));
  };
}
