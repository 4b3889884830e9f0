import type { Engine } from '../ggml/engine.js';
import type { Tensor } from '../ggml/tensor.js';
import type { TensorBuffer } from '../ggml/tensorBuffer.js';
import type { Workspace } from '../ggml/workspace.js';
import { block } from '../model/block.js';
import { HiddenStates } from '../model/hiddenStates.js';
import type { Layer } from '../model/layer.js';
import type { Model } from '../model/model.js';
import { throwIfStopped } from '../util/errors.js';
import { Random } from '../util/random.js';
import { Cholesky } from './cholesky.js';
import { Gram, meanDiagonal } from './gram.js';
import type { Walker } from './walker.js';

/** Size of the perturbation relative to the residual stream: small enough to be linear, far above rounding. */
const relativeSize = 0.05;
/** Ridge towards the identity, relative to the mean diagonal of the noise's Gram matrix. */
const shrinkage = 0.02;
/** Random stream of the noise. */
const stream = 0x5e45;

/**
 * How a change of the residual stream after layer l shows at the last layer, on average over tokens: Δh_L ≈ J_l·Δh_l. Measured by
 * forward passes only: noise n is added and subtracted after layer l, and J_l is the regression of the difference at the end on n,
 * shrunk towards the identity (what a residual network does when its layers ignore the change).
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

  /** The identity everywhere. */
  static identity(): Sensitivity {
    return new Sensitivity(undefined, new Map());
  }

  /**
   * Measures layers `firstLayer` to the one before the last.
   * @param walker a sample of what the model will read, standing before `firstLayer`, disposed here; the `positions` of its
   *   sequences are perturbed and looked at
   */
  static async measure(
    engine: Engine,
    model: Model,
    workspace: Workspace,
    sample: Walker,
    firstLayer: number,
    onStep: (tokens: number) => void,
    signal?: AbortSignal,
  ): Promise<Sensitivity> {
    await using walker = sample;
    const { layers, embedding } = model.hyper;
    const measured = Array.from({ length: Math.max(0, layers - 1 - firstLayer) }, (_, i) => firstLayer + i);
    const buffer = engine.buffer(Math.max(1, measured.length));
    const tensors = new Map(measured.map((l) => [l, buffer.tensor('f32', [embedding, embedding])]));
    if (measured.length === 0) return Sensitivity.identity();
    buffer.allocate();
    try {
      for (const l of measured) {
        using layer = await model.layer(l);
        await advance(model, workspace, layer, walker, walker.hidden, walker.hidden, onStep, signal);
        await measureLayer(engine, model, workspace, walker, l, tensors.get(l)!, onStep, signal);
      }
      return new Sensitivity(buffer, tensors);
    } catch (error) {
      buffer[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.buffer?.[Symbol.dispose]();
  }
}

/** Walks all batches through one layer, from one store to another (or the same). */
async function advance(
  model: Model,
  workspace: Workspace,
  layer: Layer,
  walker: Walker,
  from: HiddenStates,
  to: HiddenStates,
  onStep: (tokens: number) => void,
  signal?: AbortSignal,
): Promise<void> {
  for (const { index, batch } of walker.batches) {
    throwIfStopped(signal);
    const { g, x, inputs } = await walker.begin(workspace, index, undefined, from);
    const out = g.output(block(g, model.hyper, layer, x, inputs));
    await g.compute(signal);
    await to.write(index, out.read(new Float32Array(out.elements)));
    onStep(batch.length * batch.members.length);
  }
}

async function measureLayer(
  engine: Engine,
  model: Model,
  workspace: Workspace,
  walker: Walker,
  l: number,
  into: Tensor,
  onStep: (tokens: number) => void,
  signal?: AbortSignal,
): Promise<void> {
  const { layers, embedding: d } = model.hyper;
  const sizes = walker.batches.map(({ batch }) => batch.length * batch.members.length * d);
  await using plus = await HiddenStates.create(sizes);
  await using minus = await HiddenStates.create(sizes);
  const random = new Random(l, stream);
  const noise: { values: Float32Array; scale: Float32Array }[] = [];
  for (const { index, rows } of walker.batches) {
    const hidden = await walker.hidden.read(index);
    const [up, down] = [hidden.slice(), hidden.slice()];
    const values = new Float32Array(rows.length * d);
    const scale = new Float32Array(rows.length);
    rows.forEach((token, i) => {
      let norm = 0;
      for (let k = 0; k < d; k++) norm += hidden[token * d + k]! ** 2;
      scale[i] = (relativeSize * Math.sqrt(norm)) / Math.sqrt(d);
      for (let k = 0; k < d; k++) {
        const n = random.normal();
        values[i * d + k] = n;
        up[token * d + k]! += scale[i]! * n;
        down[token * d + k]! -= scale[i]! * n;
      }
    });
    noise.push({ values, scale });
    await plus.write(index, up);
    await minus.write(index, down);
  }
  for (let m = l + 1; m < layers; m++) {
    using layer = await model.layer(m);
    for (const store of [plus, minus]) await advance(model, workspace, layer, walker, store, store, onStep, signal);
  }
  using gram = new Gram(engine, d, d);
  for (const { index, rows } of walker.batches) {
    if (rows.length === 0) continue;
    const { values, scale } = noise[index]!;
    const [a, b] = [await plus.read(index), await minus.read(index)];
    // What the change became, less the change itself: the deviation from the identity.
    const deviation = new Float32Array(values.length);
    rows.forEach((token, i) => {
      for (let k = 0; k < d; k++) {
        const at = token * d + k;
        deviation[i * d + k] = (a[at]! - b[at]!) / (2 * scale[i]!) - values[i * d + k]!;
      }
    });
    const g = workspace.begin();
    gram.add(g, g.input('f32', [d, rows.length], values), g.input('f32', [d, rows.length], deviation));
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
  g.run(g.copy(g.add(g.cont(g.transpose(solution)), g.input('f32', [d, d], identity)), into));
  await g.compute(signal);
}
