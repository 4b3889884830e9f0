import type { Graph } from '../ggml/graph.js';
import type { Tensor } from '../ggml/tensor.js';
import type { Workspace } from '../ggml/workspace.js';

/** Bytes of rows kept; later ones are not judged by. Thousands of rows tell λ and rank apart as well as more would. */
const maxBytes = 48 << 20;

/**
 * Rows of inputs and wanted outputs that a correction is judged by. Kept themselves: they are few, and their Gram matrix would take
 * as much memory as that of the rows that are fitted.
 */
export class ValidationRows {
  private readonly blocks: { x: Float32Array; y: Float32Array; rows: number }[] = [];
  private pending: [Tensor, Tensor] | undefined;
  private bytes = 0;

  get rows(): number {
    return this.blocks.reduce((sum, { rows }) => sum + rows, 0);
  }

  /** Declares rows of a graph, x f32 [n, rows], y f32 [m, rows], to be kept when `computed` is called. */
  add(graph: Graph, x: Tensor, y: Tensor): void {
    if (this.bytes + x.bytes + y.bytes > maxBytes && this.blocks.length > 0) return;
    this.pending = [graph.output(x), graph.output(y)];
  }

  /** Reads the rows of the graph that has just been computed. */
  computed(): void {
    if (!this.pending) return;
    const [x, y] = this.pending;
    this.pending = undefined;
    this.bytes += x.bytes + y.bytes;
    this.blocks.push({ x: x.toFloat32(), y: y.toFloat32(), rows: x.rows });
  }

  /**
   * |Y - X·U·Vᵀ|² / |Y|² after 0, 1, ... components. For orthonormal V components add up without cross terms: the k-th changes the
   * squared error by |X·uₖ|² - 2·(X·uₖ)·(Y·vₖ).
   * @param u `rank` rows of n values
   * @param v `rank` orthonormal rows of m values
   */
  async curve(
    workspace: Workspace,
    u: Float32Array,
    v: Float32Array,
    rank: number,
    signal?: AbortSignal,
  ): Promise<Float64Array> {
    const change = new Float64Array(rank);
    let total = 0;
    for (const { x, y, rows } of this.blocks) {
      const g = workspace.begin();
      const wanted = g.input('f32', [y.length / rows, rows], y);
      const xu = g.mulMat(g.input('f32', [u.length / rank, rank], u), g.input('f32', [x.length / rows, rows], x));
      const yv = g.mulMat(g.input('f32', [v.length / rank, rank], v), wanted); // [rank, rows]
      const each = g.mul(xu, g.sub(xu, g.scale(yv, 2)));
      const sums = g.output(g.sumRows(g.cont(g.transpose(each))));
      const size = g.output(g.sum(g.sqr(wanted)));
      await g.compute(signal);
      sums.toFloat32().forEach((value, k) => {
        change[k]! += value;
      });
      total += size.toFloat32()[0]!;
    }
    const curve = new Float64Array(rank + 1).fill(1);
    if (total > 0) for (let k = 0; k < rank; k++) curve[k + 1] = curve[k]! + change[k]! / total;
    return curve;
  }
}
