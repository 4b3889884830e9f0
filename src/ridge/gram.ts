import type { Engine } from '../ggml/engine.js';
import type { Graph } from '../ggml/graph.js';
import type { Tensor } from '../ggml/tensor.js';
import type { TensorBuffer } from '../ggml/tensorBuffer.js';
import type { Workspace } from '../ggml/workspace.js';

/** The fast f32 and bf16 products want the inner dimension, here the rows, to be a multiple of this; zeros fill it up. */
const rowAlignment = 32;
/** Columns of XᵀX computed by one product. */
const blockColumns = 512;

/**
 * Sufficient statistics of a least-squares problem Y ≈ X·W with n inputs and m outputs: XᵀX, XᵀY and the squared norm of Y. Rows are
 * streamed in and not kept.
 */
export class Gram implements Disposable {
  /** XᵀX, f32 [n, n]. */
  readonly xx: Tensor;
  /** XᵀY, f32 [n, m]: m rows of n values. */
  readonly xy: Tensor;
  /** Σ y², f32 [1]. */
  readonly yy: Tensor;
  /** Rows seen. */
  rows = 0;
  private mirrored = true;
  private readonly bf16: boolean;
  private readonly buffer: TensorBuffer;

  constructor(
    engine: Engine,
    readonly inputs: number,
    readonly outputs: number,
  ) {
    this.bf16 = engine.fastBf16;
    this.buffer = engine.buffer(3);
    this.xx = this.buffer.tensor('f32', [inputs, inputs]);
    this.xy = this.buffer.tensor('f32', [inputs, outputs]);
    this.yy = this.buffer.tensor('f32', [1]);
    this.buffer.allocate({ zero: true });
  }

  /**
   * Adds rows within a graph: x f32 [n, rows], y f32 [m, rows]. Where the processor multiplies bf16 twice as fast, the rows are
   * rounded to it first (sums stay f32): noise of 2⁻⁹ in the inputs, far below any ridge used here.
   */
  add(graph: Graph, x: Tensor, y: Tensor): void {
    const extra = (rowAlignment - (x.rows % rowAlignment)) % rowAlignment;
    const turned = (t: Tensor) => {
      const transposed = graph.transpose(extra > 0 ? graph.padRows(t, extra) : t);
      return this.bf16 ? graph.cast(transposed, 'bf16') : graph.cont(transposed);
    };
    const xt = turned(x); // [rows, n]
    const yt = turned(y); // [rows, m]
    // XᵀX is symmetric: only blocks on and below the diagonal are computed, `mirror` fills in the rest.
    for (let from = 0; from < this.inputs; from += blockColumns) {
      const size = Math.min(blockColumns, this.inputs - from);
      const right = wide(graph, graph.rowsOf(xt, from, size), this.bf16);
      const target = graph.view(this.xx, [from + size, size], { offset: from * this.xx.nb[1] });
      graph.run(graph.addInplace(target, graph.mulMat(graph.rowsOf(xt, 0, from + size), right)));
    }
    graph.run(graph.addInplace(this.xy, graph.mulMat(xt, wide(graph, yt, this.bf16))));
    graph.run(graph.addInplace(this.yy, graph.sum(graph.sqr(y))));
    this.rows += x.rows;
    this.mirrored = false;
  }

  /** Nothing to do: the sums are in memory of their own. */
  computed(): void {}

  /** Completes XᵀX above the diagonal; to be called before it is used. */
  async complete(workspace: Workspace, signal?: AbortSignal): Promise<void> {
    if (this.mirrored) return;
    const g = workspace.begin();
    for (let from = 0; from < this.inputs; from += blockColumns) {
      const size = Math.min(blockColumns, this.inputs - from);
      const after = this.inputs - from - size;
      if (after === 0) break;
      const lower = g.view(this.xx, [size, after], { offset: (from + size) * this.xx.nb[1] + from * 4 });
      const upper = g.view(this.xx, [after, size], { offset: from * this.xx.nb[1] + (from + size) * 4 });
      g.run(g.copy(g.transpose(lower), upper));
    }
    await g.compute(signal);
    this.mirrored = true;
  }

  get bytes(): number {
    return this.buffer.size;
  }

  [Symbol.dispose](): void {
    this.buffer[Symbol.dispose]();
  }
}

/** λ is given relative to this, so that it means the same in every layer. */
export function meanDiagonal(gram: Gram): number {
  const n = gram.inputs;
  const cell = new Float32Array(1);
  let sum = 0;
  for (let i = 0; i < n; i++) sum += gram.xx.read(cell, i * (gram.xx.nb[1] + 4))[0]!;
  return sum / n;
}

/** The second operand of a product must be f32; ggml rounds it to the first one's type itself. */
function wide(graph: Graph, t: Tensor, bf16: boolean): Tensor {
  return bf16 ? graph.cast(t, 'f32') : t;
}
