import type { Operations } from '../ggml/operations.js';
import type { Tensor } from '../ggml/tensor.js';
import type { TensorBuffer } from '../ggml/tensorBuffer.js';
import { rowBytes, tensorTypes } from '../ggml/tensorTypes.js';
import type { Workspace } from '../ggml/workspace.js';
import type { Hyperparameters } from './hyperparameters.js';
import { type Head, headChunk, type Model } from './model.js';

/** Rows of the embedding table transposed at once; a multiple of a block of q8_0. */
const transposeRows = 4096;
/** A transposed head that would be larger in half precision is kept as q8_0: that of a vocabulary of 262,144 is 335 MB at a width of 640. */
const halfPrecisionBytes = 256 << 20;

/** Type of the transposed head: gradients are multiplied with it, nothing else is. */
export type TransposedHeadType = 'bf16' | 'f16' | 'q8_0';

/** What `LabelGradient` takes by default, and the bytes of it. */
export function transposedHead(
  { vocabulary, embedding }: Pick<Hyperparameters, 'vocabulary' | 'embedding'>,
  fastBf16: boolean,
): { type: TransposedHeadType; bytes: number } {
  const bytes = 2 * vocabulary * embedding;
  if (bytes <= halfPrecisionBytes || vocabulary % tensorTypes.q8_0.blockSize !== 0) {
    return { type: fastBf16 ? 'bf16' : 'f16', bytes };
  }
  return { type: 'q8_0', bytes: embedding * rowBytes(tensorTypes.q8_0, vocabulary) };
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
    /** [vocabulary, embedding] */
    private readonly transposed: Tensor,
    private readonly buffer: TensorBuffer,
  ) {}

  static async create(
    model: Model,
    workspace: Workspace,
    head: Head,
    signal?: AbortSignal,
    type = transposedHead(model.hyper, model.engine.fastBf16).type,
  ): Promise<LabelGradient> {
    const { vocabulary, embedding } = model.hyper;
    const buffer = model.engine.buffer(1);
    const transposed = buffer.tensor(type, [vocabulary, embedding]);
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
      return new LabelGradient(model, workspace, head, transposed, buffer);
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
    const atNorm = ops.mul(
      ops.sub(this.head.rows(ops, labels), ops.mulMat(this.transposed, probabilities)),
      this.head.norm,
    );
    return {
      gradient: ops.rmsNormBack(atNorm, x, this.model.hyper.normEpsilon),
      nll: this.head.nll(ops, logits, probabilities, labels),
    };
  }

  [Symbol.dispose](): void {
    this.buffer[Symbol.dispose]();
  }
}
