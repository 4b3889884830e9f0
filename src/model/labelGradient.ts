import type { Engine } from '../engine/engine.js';
import type { Workspace } from '../engine/graph.js';
import type { Operations } from '../engine/operations.js';
import { fastestBufferType, inPlace, type Keep, type Linear, PlacedLinear, placeLinear } from '../engine/placement.js';
import type { Tensor } from '../engine/tensor.js';
import { rowBytes, tensorTypes } from '../engine/tensorTypes.js';
import type { Hyperparameters } from './hyperparameters.js';
import { type Head, headChunk, type Model } from './model.js';

/** Rows of the embedding table transposed at once; a multiple of a block of q8_0. */
const transposeRows = 4096;
/** Exact kernels too have a larger head as q8_0: that of a vocabulary of 262,144 is 335 MB in half precision at a width of 640. */
const halfPrecisionBytes = 256 << 20;

/** Type of the transposed head: gradients are multiplied with it, nothing else is. */
export type TransposedHeadType = 'f16' | 'q8_0';

/**
 * Probabilities are multiplied by this before they are rounded to blocks of q8_0, whose f16 scale would take what is below 1e-5 for
 * zero: half of a vocabulary may be.
 */
const probabilityScale = 4096;

/**
 * What `LabelGradient` takes by default, and the bytes of it: q8_0, which takes half of the memory of f16 and is multiplied faster by
 * all processors that were measured but those with AVX-512 BF16, where bf16 is up to a quarter faster (docs/architecture.md).
 */
export function transposedHead(
  { vocabulary, embedding }: Pick<Hyperparameters, 'vocabulary' | 'embedding'>,
  engine: Engine,
): { type: TransposedHeadType; bytes: number } {
  const { q8_0 } = tensorTypes;
  const bytes = 2 * vocabulary * embedding;
  if (vocabulary % q8_0.blockSize === 0 && (engine.kernels === 'fast' || bytes > halfPrecisionBytes)) {
    return { type: 'q8_0', bytes: embedding * rowBytes(q8_0, vocabulary) };
  }
  return { type: 'f16', bytes };
}

/**
 * The gradient of the label's log-likelihood at the last residual stream: through the output head and the final norm only, nothing
 * is propagated back through a layer. Needs the head transposed.
 */
export class LabelGradient implements Disposable {
  private constructor(
    private readonly model: Model,
    private readonly workspace: Workspace,
    readonly head: Head,
    /** x [vocabulary, n] -> [embedding, n] */
    private readonly transposed: Linear,
    private readonly scale: number,
  ) {}

  static async create(
    model: Model,
    workspace: Workspace,
    head: Head,
    options: { signal?: AbortSignal; type?: TransposedHeadType; keep?: Keep } = {},
  ): Promise<LabelGradient> {
    const { signal, type = transposedHead(model.hyper, model.engine).type, keep = inPlace } = options;
    const { vocabulary, embedding } = model.hyper;
    const shape = [vocabulary, embedding] as const;
    // Rows of the head come in slices, each of which is a slice of every row of the transposed one: put together in plain memory.
    const buffer = model.engine.buffer(1);
    const transposed = buffer.tensor(type, shape);
    buffer.allocate();
    try {
      for (let from = 0; from < vocabulary; from += transposeRows) {
        const count = Math.min(transposeRows, vocabulary - from);
        const g = workspace.begin();
        const ids = g.input(
          'i32',
          [count],
          Int32Array.from({ length: count }, (_, i) => from + i),
        );
        const columns = g.transpose(head.rows(g, ids)); // [count, embedding]
        if (type !== 'q8_0') {
          g.run(g.copy(columns, g.view(transposed, [count, embedding], { offset: 2 * from })));
          await g.compute(signal);
          continue;
        }
        // ggml copies to quantised types only where the target is dense.
        const blocks = g.output(g.cast(g.cont(columns), 'q8_0'));
        await g.compute(signal);
        const bytes = blocks.read(new Uint8Array(blocks.bytes));
        const width = bytes.length / embedding;
        const offset = rowBytes(transposed.type, from);
        for (let k = 0; k < embedding; k++) {
          transposed.write(bytes.subarray(k * width, (k + 1) * width), k * transposed.nb[1] + offset);
        }
      }
      const scale = type === 'q8_0' ? probabilityScale : 1;
      const { main } = model.engine;
      if (fastestBufferType(main, transposed.type, ...shape) === main.plain) {
        const plain = new PlacedLinear(transposed, main.plain.name, buffer);
        return new LabelGradient(model, workspace, head, await keep(plain), scale);
      }
      const bytes = transposed.read(new Uint8Array(transposed.bytes));
      buffer[Symbol.dispose]();
      const placed = await placeLinear(model.engine, { type: transposed.type, shape, read: async () => bytes });
      return new LabelGradient(model, workspace, head, await keep(placed), scale);
    } catch (error) {
      buffer[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * @param rows residual streams after the last layer, [embedding, n]
   * @param targets token to be predicted at each
   * @returns d log p(target) / d row, [embedding, n], and -log p(target) in nats
   */
  async at(
    rows: Float32Array,
    targets: Int32Array,
    signal?: AbortSignal,
  ): Promise<{ gradient: Float32Array; nll: Float32Array }> {
    const { embedding: d, vocabulary } = this.model.hyper;
    const gradient = new Float32Array(rows.length);
    const nll = new Float32Array(targets.length);
    const chunk = headChunk(vocabulary);
    for (let from = 0; from < targets.length; from += chunk) {
      const n = Math.min(chunk, targets.length - from);
      const g = this.workspace.begin();
      const x = g.input('f32', [d, n], rows.subarray(from * d, (from + n) * d));
      const labels = g.input('i32', [n], targets.slice(from, from + n));
      const result = this.inGraph(g, x, labels);
      g.output(result.gradient);
      g.output(result.nll);
      await g.compute(signal);
      result.gradient.read(gradient.subarray(from * d, (from + n) * d));
      result.nll.read(nll.subarray(from, from + n));
    }
    return { gradient, nll };
  }

  /** The same as part of a graph: x [embedding, n], labels i32 [n] -> [embedding, n] and f32 [n]. All logits exist at once. */
  inGraph(ops: Operations, x: Tensor, labels: Tensor): { gradient: Tensor; nll: Tensor } {
    const logits = this.head.logits(ops, x);
    const probabilities = ops.softMax(logits, null, 1);
    // d log p(t) / d logits = onehot(t) - p; through the head that is row t of it minus the mean row under p.
    const rows = ops.sub(this.labelRow(ops, logits, labels), this.meanRow(ops, logits, probabilities));
    const gradient = this.gradientAt(ops, x, rows);
    return { gradient, nll: this.head.nll(ops, logits, probabilities, labels) };
  }

  /**
   * x [embedding, n] -> the mean row of the head under the prediction at x, [embedding, n]: all that `towards` needs of it.
   * @param taught tokens to be predicted there, i32 [n], and their weight in that prediction
   */
  expectedRow(ops: Operations, x: Tensor, taught?: { labels: Tensor; weight: number }): Tensor {
    const logits = this.head.logits(ops, x);
    const predicted = this.meanRow(ops, logits, ops.softMax(logits, null, 1));
    if (!taught) return predicted;
    const { labels, weight } = taught;
    return ops.add(ops.scale(predicted, 1 - weight), ops.scale(this.labelRow(ops, logits, labels), weight));
  }

  /**
   * The gradient of -KL(q, p), where p is predicted at x [embedding, n] and q is another prediction, of which the mean row of the head,
   * `expected` [embedding, n], says enough: d/d logits = q - p, and through the head that is one mean row minus the other. Where logits
   * have a cap both rows are weighted by its slopes, each at its own logits, and it is the gradient of the Bregman divergence of
   * log Σ exp(c·tanh(z/c)) instead, which without a cap is KL and is 0 in the same place.
   */
  towards(ops: Operations, x: Tensor, expected: Tensor): Tensor {
    return this.gradientAt(ops, x, ops.sub(expected, this.expectedRow(ops, x)));
  }

  /** The head's row of each label, times the slope of its logit's cap. */
  private labelRow(ops: Operations, logits: Tensor, labels: Tensor): Tensor {
    const rows = this.head.rows(ops, labels);
    const slopes = this.lostSlopes(ops, logits);
    return slopes ? ops.sub(rows, ops.mul(rows, ops.reshape(ops.pick(slopes, labels), 1, labels.ne[0]))) : rows;
  }

  /** What the cap takes of the slope 1: tanh² of the logits z/c, which are c·tanh(z/c) here. */
  private lostSlopes(ops: Operations, logits: Tensor): Tensor | undefined {
    const { logitCap: cap } = this.model.hyper;
    return cap ? ops.once(logits, 'lost slopes', () => ops.sqr(ops.scale(logits, 1 / cap))) : undefined;
  }

  private meanRow(ops: Operations, logits: Tensor, probabilities: Tensor): Tensor {
    const { scale } = this;
    const slopes = this.lostSlopes(ops, logits);
    const sloped = slopes ? ops.sub(probabilities, ops.mul(probabilities, slopes)) : probabilities;
    const weights = scale === 1 ? sloped : ops.scale(sloped, scale);
    const product = this.transposed.apply(ops, weights);
    return scale === 1 ? product : ops.scale(product, 1 / scale);
  }

  /** @param rows gradient at the head's input, in rows of the head */
  private gradientAt(ops: Operations, x: Tensor, rows: Tensor): Tensor {
    const { normEpsilon, logitScale } = this.model.hyper;
    const atHead = ops.mul(rows, this.head.norm);
    const atNorm = logitScale === 1 ? atHead : ops.scale(atHead, logitScale);
    return ops.rmsNormBack(atNorm, x, normEpsilon);
  }

  /** Lets the pages of the head leave memory until it is used again. */
  release(): void {
    this.transposed.release();
    this.head.release();
  }

  [Symbol.dispose](): void {
    this.transposed[Symbol.dispose]();
  }
}
