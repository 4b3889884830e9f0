import type { Engine } from '../ggml/engine.js';
import type { Tensor } from '../ggml/tensor.js';
import type { TensorBuffer } from '../ggml/tensorBuffer.js';
import type { Workspace } from '../ggml/workspace.js';
import { block } from '../model/block.js';
import { eachLayer } from '../model/eachLayer.js';
import { HiddenStates } from '../model/hiddenStates.js';
import type { Layer } from '../model/layer.js';
import type { Model } from '../model/model.js';
import type { Walker } from '../model/walker.js';
import { throwIfStopped } from '../util/errors.js';
import { Random } from '../util/random.js';
import { Cholesky } from './cholesky.js';
import { Gram, meanDiagonal } from './gram.js';

/** Size of the perturbation relative to the residual stream: small enough to be linear, far above rounding. */
const relativeSize = 0.05;
/** Ridge towards the identity, relative to the mean diagonal of the noise's Gram matrix. */
const shrinkage = 0.02;
/** Random stream of the noise. */
const stream = 0x5e45;

/**
 * How a change of the residual stream after layer l shows at the last layer, on average over tokens: Δh_L ≈ J_l·Δh_l. Measured by
 * forward passes only: noise n is added after layer l, and J_l is the regression of what it changes at the end on n, shrunk towards
 * the identity (what a residual network does when its layers ignore the change). What is quadratic in n is uncorrelated with it.
 */
export class Sensitivity implements Disposable {
  private constructor(
    private readonly buffer: TensorBuffer | undefined,
    private readonly byLayer: ReadonlyMap<number, Tensor>,
  ) {}

  /** f32 [embedding, embedding], ne0 the last layer's dimension, ne1 this layer's; null stands for the identity. */
  at(layer: number): Tensor | null {
    return this.byLayer.get(layer) ?? null;
  }

  /** Layers that `measure` walks a sample through, counted once for each state that is walked. */
  static walks(layers: number, firstLayer: number): number {
    const n = layers - firstLayer;
    return n > 1 ? (n * (n + 1)) / 2 : 0;
  }

  /**
   * Measures layers `firstLayer` to the one before the last.
   * @param sample what the model will read, standing before `firstLayer`, disposed here; the `positions` of its sequences are
   *   perturbed and looked at
   * @param metric of `streamMetric`: J is then that of the measured stream, and so is the noise
   */
  static async measure(
    engine: Engine,
    model: Model,
    workspace: Workspace,
    sample: Walker,
    firstLayer: number,
    onStep: (tokens: number) => void,
    signal?: AbortSignal,
    metric?: Float32Array,
  ): Promise<Sensitivity> {
    await using walker = sample;
    const { layers, embedding } = model.hyper;
    const count = Math.max(0, layers - 1 - firstLayer);
    if (count === 0) return new Sensitivity(undefined, new Map());
    const buffer = engine.buffer(count);
    const perturbed: Perturbed[] = [];
    for (let l = firstLayer; l < layers - 1; l++) {
      perturbed.push({ layer: l, into: buffer.tensor('f32', [embedding, embedding]), scales: [] });
    }
    buffer.allocate();
    try {
      // All perturbed states walk together, so that each layer's weights are loaded once.
      await eachLayer(model, firstLayer, async (layer) => {
        const stores = [walker.hidden, ...perturbed.flatMap(({ states }) => (states ? [states] : []))];
        for (const store of stores) await advance(model, workspace, layer, walker, store, onStep, signal);
        const begins = perturbed.find((p) => p.layer === layer.index);
        if (begins) await perturb(walker, embedding, begins, metric);
      });
      for (const each of perturbed) await regress(engine, workspace, walker, embedding, each, metric, signal);
      return new Sensitivity(buffer, new Map(perturbed.map(({ layer, into }) => [layer, into])));
    } catch (error) {
      buffer[Symbol.dispose]();
      throw error;
    } finally {
      for (const { states } of perturbed) await states?.[Symbol.asyncDispose]();
    }
  }

  [Symbol.dispose](): void {
    this.buffer?.[Symbol.dispose]();
  }
}

/** The sample with noise added after one layer. */
interface Perturbed {
  readonly layer: number;
  /** Where its J goes. */
  readonly into: Tensor;
  /** Size of the noise of each row, batch by batch. */
  readonly scales: Float32Array[];
  states?: HiddenStates;
}

/** Walks all batches of a store through one layer. */
async function advance(
  model: Model,
  workspace: Workspace,
  layer: Layer,
  walker: Walker,
  store: HiddenStates,
  onStep: (tokens: number) => void,
  signal?: AbortSignal,
): Promise<void> {
  for (const { index, batch } of walker.batches) {
    throwIfStopped(signal);
    const { g, x, inputs } = await walker.begin(workspace, index, undefined, store);
    const out = g.output(block(g, model.hyper, layer, x, inputs));
    await g.compute(signal);
    await store.write(index, out.read(new Float32Array(out.elements)));
    onStep(batch.length * batch.members.length);
  }
}

/** The noise of a layer: the same numbers at every call. */
function noiseOf({ layer }: Perturbed): Random {
  return new Random(layer, stream);
}

async function perturb(walker: Walker, d: number, into: Perturbed, metric?: Float32Array): Promise<void> {
  const measure = (k: number) => metric?.[k] ?? 1;
  const states = await HiddenStates.create(walker.hidden.sizes);
  into.states = states;
  const random = noiseOf(into);
  for (const { index, rows } of walker.batches) {
    const hidden = (await walker.hidden.read(index)).slice();
    const scales = new Float32Array(rows.length);
    rows.forEach((token, i) => {
      let norm = 0;
      for (let k = 0; k < d; k++) norm += (hidden[token * d + k]! * measure(k)) ** 2;
      scales[i] = relativeSize * Math.sqrt(norm / d);
      for (let k = 0; k < d; k++) hidden[token * d + k]! += (scales[i]! * random.normal()) / measure(k);
    });
    into.scales.push(scales);
    await states.write(index, hidden);
  }
}

/** J of one layer, from the states at the end of the walk with and without its noise. */
async function regress(
  engine: Engine,
  workspace: Workspace,
  walker: Walker,
  d: number,
  perturbed: Perturbed,
  metric: Float32Array | undefined,
  signal?: AbortSignal,
): Promise<void> {
  using gram = new Gram(engine, d, d);
  const random = noiseOf(perturbed);
  for (const { index, rows } of walker.batches) {
    if (rows.length === 0) continue;
    const [moved, still] = [await perturbed.states!.read(index), await walker.hidden.read(index)];
    const noise = new Float32Array(rows.length * d);
    // What the noise became, less the noise itself: the deviation from the identity.
    const deviation = new Float32Array(rows.length * d);
    rows.forEach((token, i) => {
      const scale = perturbed.scales[index]![i]!;
      for (let k = 0; k < d; k++) {
        const n = random.normal();
        noise[i * d + k] = n;
        const change = (moved[token * d + k]! - still[token * d + k]!) * (metric?.[k] ?? 1);
        deviation[i * d + k] = change / scale - n;
      }
    });
    const g = workspace.begin();
    gram.add(g, g.input('f32', [d, rows.length], noise), g.input('f32', [d, rows.length], deviation));
    await g.compute(signal);
  }
  await gram.complete(workspace, signal);
  using cholesky = await Cholesky.factor(workspace, gram.xx, shrinkage * meanDiagonal(gram), signal);
  using scratch = engine.buffer(1);
  const solution = scratch.tensor('f32', [d, d]); // row k: coefficients of the last layer's dimension k
  scratch.allocate();
  const g = workspace.begin();
  cholesky.solveLower(g, gram.xy, solution);
  cholesky.solveUpper(g, solution, solution);
  const identity = new Float32Array(d * d);
  for (let k = 0; k < d; k++) identity[k * d + k] = 1;
  g.run(g.copy(g.add(g.cont(g.transpose(solution)), g.input('f32', [d, d], identity)), perturbed.into));
  await g.compute(signal);
}
