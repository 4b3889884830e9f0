import type { Tensor } from '../ggml/tensor.js';
import type { Workspace } from '../ggml/workspace.js';
import type { Factors } from '../model/lora.js';
import { multiplyWith, topEigenvectors } from './topEigenvectors.js';

/** Weight of directions that the data hardly uses, relative to the mean diagonal of XᵀX. */
const floor = 0.01;

/**
 * The sum of two corrections as one of at most `rank` components: the best approximation on inputs with the given XᵀX. With
 * A = [A₁; A₂], B = [B₁, B₂] and the metric K = A·XᵀX·Aᵀ, its outputs' Gram matrix is B·K·Bᵀ, whose leading eigenvectors V give
 * B' = V, A' = Vᵀ·B·A (the same truncation as in `reducedRankRidge`).
 * @param scale factor of the second correction
 */
export async function combine(
  workspace: Workspace,
  xx: Tensor,
  meanDiagonal: number,
  first: Factors,
  second: Factors,
  scale: number,
  rank: number,
  signal?: AbortSignal,
): Promise<Factors> {
  const { inputs: n, outputs: m } = first;
  const r = first.rank + second.rank;
  const a = new Float32Array(r * n);
  a.set(first.a);
  a.set(second.a, first.rank * n);
  const b = new Float32Array(m * r);
  for (let o = 0; o < m; o++) {
    b.set(first.b.subarray(o * first.rank, (o + 1) * first.rank), o * r);
    for (let k = 0; k < second.rank; k++) b[o * r + first.rank + k] = scale * second.b[o * second.rank + k]!;
  }
  if (r <= rank) return { inputs: n, outputs: m, rank: r, a, b };

  using buffer = workspace.engine.buffer(1);
  const outer = buffer.tensor('f32', [m, m]);
  buffer.allocate();
  const g = workspace.begin();
  const at = g.input('f32', [n, r], a);
  const bt = g.input('f32', [r, m], b);
  const metric = g.mulMat(at, g.add(g.mulMat(xx, at), g.scale(at, floor * meanDiagonal))); // [r, r]
  g.run(g.copy(g.mulMat(bt, g.mulMat(metric, bt)), outer));
  await g.compute(signal);
  const { vectors } = await topEigenvectors(multiplyWith(workspace, outer, signal), m, rank);

  const kept = vectors.length / m;
  const back = workspace.begin();
  const v = back.input('f32', [m, kept], vectors);
  const vb = back.mulMat(back.cont(back.transpose(back.input('f32', [r, m], b))), v); // [r, kept]
  const result = back.output(back.mulMat(back.cont(back.transpose(back.input('f32', [n, r], a))), vb)); // [n, kept]
  await back.compute(signal);
  const newB = new Float32Array(m * kept);
  for (let k = 0; k < kept; k++) for (let o = 0; o < m; o++) newB[o * kept + k] = vectors[k * m + o]!;
  return { inputs: n, outputs: m, rank: kept, a: result.toFloat32(), b: newB };
}
