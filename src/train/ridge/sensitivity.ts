import { throwIfStopped } from '../../base/errors.js';
import { Random } from '../../base/random.js';
import type { Graph } from '../../engine/graph.js';
import { forPlacing, type Linear, placeComputed } from '../../engine/placement.js';
import type { Tensor } from '../../engine/tensor.js';
import { sharedBlock, streamInputs } from '../../model/batch.js';
import { type Layer, LayerGraph } from '../../model/block.js';
import { streamWidth } from '../../model/hyperparameters.js';
import { layersInOrder } from '../../model/model.js';
import { HiddenStates, type Walker } from '../../model/walker.js';
import { Cholesky } from './cholesky.js';
import { Gram, meanDiagonal } from './gram.js';
import type { RidgeLab } from './walk.js';

/** Size of the perturbation relative to the residual stream: small enough to be linear, far above rounding. */
const relativeSize = 0.05;
/** Ridge towards the identity, relative to the mean diagonal of the noise's Gram matrix. */
const shrinkage = 0.02;
/** Random stream of the noise. */
const stream = 0x5e45;

/**
 * How a change of the residual stream after layer l shows at the last layer, on average over tokens: Δh_L ≈ J_l·Δh_l. Measured by
 * forward passes only, one layer at a time: noise n is added after layer l, and I + D_l is the regression of what it makes of itself
 * after layer l + 1 on n, shrunk towards the identity (what a residual network does when its layers ignore the change). What is
 * quadratic in n is uncorrelated with it. J_l is the product of these from l on.
 */
export class Sensitivity implements Disposable {
  private constructor(
    /** D_lᵀ: [embedding, n] after the step behind layer l -> after layer l. */
    private readonly deviations: ReadonlyMap<number, Linear>,
  ) {}

  /** J_lᵀ·gradient: gradients at the last layer, [embedding, n], carried back to just behind `layer`. */
  carryBack(g: Graph, layer: number, gradient: Tensor): Tensor {
    let carried = gradient;
    const from = [...this.deviations.keys()].filter((l) => l >= layer).sort((a, b) => b - a);
    for (const l of from) carried = g.add(carried, this.deviations.get(l)!.apply(g, carried));
    return carried;
  }

  /** Layers that `measure` walks a sample through, counted once for each state that is walked. */
  static walks(layers: number, firstLayer: number): number {
    return Math.max(0, 2 * (layers - firstLayer) - 1);
  }

  /**
   * Measures the layers that the steps go through but the last one.
   * @param sample what the model will read, standing before the first step, disposed here; the `positions` of its sequences are
   *   perturbed and looked at
   * @param metric of `streamMetric`: J is then that of the measured stream, and so is the noise
   */
  static async measure(
    lab: RidgeLab,
    sample: Walker,
    steps: AsyncIterable<SampleStep>,
    metric?: Float32Array,
  ): Promise<Sensitivity> {
    await using walker = sample;
    await using states = await HiddenStates.create(walker.hidden.sizes, lab.model.engine.scratch);
    const { layers } = lab.model.hyper;
    const deviations = new Map<number, Linear>();
    let perturbed: Perturbed | undefined;
    try {
      for await (const step of steps) {
        await step.advance(walker, walker.hidden);
        if (perturbed) {
          await step.advance(walker, states);
          deviations.set(perturbed.layer, await regress(lab, walker, perturbed, metric));
        }
        perturbed = step.layer < layers - 1 ? await perturb(lab, walker, step.layer, states, metric) : undefined;
      }
      return new Sensitivity(deviations);
    } catch (error) {
      for (const deviation of deviations.values()) deviation[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    for (const deviation of this.deviations.values()) deviation[Symbol.dispose]();
  }
}

/** The sample with noise added after one layer. */
interface Perturbed {
  readonly layer: number;
  /** Size of the noise of each row, batch by batch. */
  readonly scales: Float32Array[];
  readonly states: HiddenStates;
}

/** A step of the walk: one layer, or several that are computed together. */
export interface SampleStep {
  /** The last of them. */
  readonly layer: number;
  /** Takes all batches of a store through them, laid out as the walker's. */
  advance(walker: Walker, store: HiddenStates): Promise<void>;
}

/** The layers from `first` on, computed by our own graph. */
export async function* ownSteps(lab: RidgeLab, first: number): AsyncGenerator<SampleStep, void, void> {
  for await (const layer of layersInOrder(lab.model, first)) {
    yield { layer: layer.index, advance: (walker, store) => advance(lab, layer, walker, store) };
  }
}

/** Walks all batches of a store through one layer. */
async function advance(lab: RidgeLab, layer: Layer, walker: Walker, store: HiddenStates): Promise<void> {
  const { model, workspace, progress, signal } = lab;
  for (const { index, batch, tokens } of walker.batches) {
    throwIfStopped(signal);
    const { g, x, tokens: ids } = await walker.begin(workspace, index, store);
    const inputs = streamInputs(g, batch, ids, walker.opening, model.ropeFactors);
    const out = g.output(sharedBlock(new LayerGraph(g, model.hyper, layer), x, inputs));
    await g.compute(signal);
    await store.write(index, out.read(new Float32Array(out.elements)));
    progress.add(tokens);
  }
}

/** The noise after a layer: the same numbers at every call. */
function noiseAfter(layer: number): Random {
  return new Random(layer, stream);
}

/** Writes the walker's states with noise added to `states`. */
async function perturb(
  { model }: RidgeLab,
  walker: Walker,
  layer: number,
  states: HiddenStates,
  metric?: Float32Array,
): Promise<Perturbed> {
  const { embedding: d } = model.hyper;
  const width = streamWidth(model.hyper);
  const measure = (k: number) => metric?.[k] ?? 1;
  const random = noiseAfter(layer);
  const perturbed: Perturbed = { layer, scales: [], states };
  for (const { index, rows } of walker.batches) {
    const hidden = (await walker.hidden.read(index)).slice();
    const scales = new Float32Array(rows.length);
    rows.forEach((token, i) => {
      let norm = 0;
      for (let k = 0; k < d; k++) norm += (hidden[token * width + k]! * measure(k)) ** 2;
      scales[i] = relativeSize * Math.sqrt(norm / d);
      for (let k = 0; k < d; k++) hidden[token * width + k]! += (scales[i]! * random.normal()) / measure(k);
    });
    perturbed.scales.push(scales);
    await states.write(index, hidden);
  }
  return perturbed;
}

/** Dᵀ of one layer, from the states one layer further on with and without its noise. */
async function regress(
  { model, workspace, signal }: RidgeLab,
  walker: Walker,
  perturbed: Perturbed,
  metric: Float32Array | undefined,
): Promise<Linear> {
  const { engine } = model;
  const { embedding: d } = model.hyper;
  const width = streamWidth(model.hyper);
  using gram = new Gram(workspace, d, d, signal);
  const random = noiseAfter(perturbed.layer);
  for (const { index, rows } of walker.batches) {
    if (rows.length === 0) continue;
    const [moved, still] = [await perturbed.states.read(index), await walker.hidden.read(index)];
    const noise = new Float32Array(rows.length * d);
    // What the noise became, less the noise itself: the deviation from the identity.
    const deviation = new Float32Array(rows.length * d);
    rows.forEach((token, i) => {
      const scale = perturbed.scales[index]![i]!;
      for (let k = 0; k < d; k++) {
        const n = random.normal();
        noise[i * d + k] = n;
        const change = (moved[token * width + k]! - still[token * width + k]!) * (metric?.[k] ?? 1);
        deviation[i * d + k] = change / scale - n;
      }
    });
    const g = workspace.begin();
    gram.add(g, g.input('f32', [d, rows.length], noise), g.input('f32', [d, rows.length], deviation));
    await g.compute(signal);
    await gram.computed();
  }
  await gram.complete();
  using cholesky = await Cholesky.factor(workspace, gram.xx, shrinkage * meanDiagonal(gram), signal);
  using scratch = engine.buffer(1);
  const solution = scratch.tensor('f32', [d, d]); // row k: coefficients of the last layer's dimension k
  scratch.allocate();
  const g = workspace.begin();
  cholesky.solveLower(g, gram.xy, solution);
  cholesky.solveUpper(g, solution, solution);
  const deviation = forPlacing(g, g.cont(g.transpose(solution))); // ne0 the next layer's dimension, ne1 this layer's
  await g.compute(signal);
  return await placeComputed(engine, deviation);
}
