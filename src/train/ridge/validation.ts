import type { Graph, Workspace } from '../../engine/graph.js';
import type { Tensor } from '../../engine/tensor.js';
import { streamWidth } from '../../model/hyperparameters.js';
import { type Head, headChunk } from '../../model/model.js';
import type { Walker } from '../../model/walker.js';
import type { Lab } from '../lab.js';
import type { RidgeExample } from './examples.js';

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

/** Residual streams of a batch at the positions of interest, [embedding, rows], with the tokens to be predicted there. */
export async function predictingRows(
  { model }: Pick<Lab, 'model'>,
  walker: Walker,
  index: number,
  examples: readonly RidgeExample[],
): Promise<{ rows: Float32Array; targets: Int32Array }> {
  const { embedding } = model.hyper;
  const width = streamWidth(model.hyper);
  const { batch, rows: indices } = walker.batches[index]!;
  const hidden = await walker.hidden.read(index);
  const rows = new Float32Array(indices.length * embedding);
  indices.forEach((token, i) => {
    rows.set(hidden.subarray(token * width, token * width + embedding), i * embedding);
  });
  return { rows, targets: Int32Array.from(batch.members.flatMap((member) => [...examples[member]!.targets])) };
}

/**
 * Mean NLL in nats per token of the examples of one part, from residual streams that have walked through all layers; NaN if there
 * are none. The head is computed at the predicting positions only.
 */
export async function walkedNll(
  lab: Lab,
  head: Head,
  walker: Walker,
  examples: readonly RidgeExample[],
  part: RidgeExample['part'],
): Promise<number> {
  let sum = 0;
  let tokens = 0;
  for (const { index, batch } of walker.batches) {
    if (examples[batch.members[0]!]!.part !== part) continue;
    const { rows, targets } = await predictingRows(lab, walker, index, examples);
    for (const value of await rowsNll(lab, head, rows, targets)) sum += value;
    tokens += targets.length;
  }
  return tokens > 0 ? sum / tokens : Number.NaN;
}

/** -log p(target) in nats for residual streams after the last layer, [embedding, n] -> one value per row. */
export async function rowsNll(
  { model, workspace, signal }: Lab,
  head: Head,
  rows: Float32Array,
  targets: Int32Array,
): Promise<Float32Array> {
  const { embedding, vocabulary } = model.hyper;
  const out = new Float32Array(targets.length);
  const chunk = headChunk(vocabulary);
  for (let from = 0; from < targets.length; from += chunk) {
    const n = Math.min(chunk, targets.length - from);
    const g = workspace.begin();
    const logits = head.logits(
      g,
      g.input('f32', [embedding, n], rows.subarray(from * embedding, (from + n) * embedding)),
    );
    const labels = g.input('i32', [n], targets.slice(from, from + n));
    const nll = g.output(head.nll(g, logits, g.softMax(logits, null, 1), labels));
    await g.compute(signal);
    nll.read(out.subarray(from, from + n));
  }
  return out;
}
