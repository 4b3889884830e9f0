import type { Engine } from '../ggml/engine.js';
import type { Graph } from '../ggml/graph.js';
import type { Workspace } from '../ggml/workspace.js';
import type { Factors } from '../model/lora.js';
import { Cholesky } from './cholesky.js';
import { type Gram, meanDiagonal } from './gram.js';
import { type Multiply, oversampling, topEigenvectors } from './topEigenvectors.js';
import type { ValidationRows } from './validationRows.js';

export interface RidgeSolution {
  /** ℓ₂ penalty relative to the mean diagonal of XᵀX. */
  readonly lambda: number;
  /** All components found, by descending share of the fit. */
  readonly factors: Factors;
  /** Fit of component k on the training rows: eigenvalues of ZᵀZ, in units of the squared target. */
  readonly gains: Float64Array;
  /** Share of the squared target that 0, 1, ... rank components explain in the training rows. */
  readonly explained: Float64Array;
  /**
   * Squared error on the validation rows relative to no correction, after 0, 1, ... rank components; undefined without
   * validation rows.
   */
  readonly validationCurve?: Float64Array;
}

/**
 * Reduced-rank ridge regression: min over W of rank r of |Y - X·W|² + λ'|W|², with λ' = λ · mean(diag XᵀX).
 *
 * With C = XᵀX + λ'I = L·Lᵀ and Z = L⁻¹·XᵀY, the optimum is W = C⁻¹XᵀY·V·Vᵀ, V the r leading right singular vectors of Z (Izenman
 * 1975; Mukherjee and Zhu 2011), that is the leading eigenvectors of ZᵀZ. As LoRA: B = V, A = (L⁻ᵀ·Z·V)ᵀ. Because V is orthonormal
 * the validation error of every smaller rank comes with it: components add up without cross terms.
 *
 * @param train statistics of the rows to fit
 * @param validation other rows, to judge by
 */
export async function reducedRankRidge(
  engine: Engine,
  workspace: Workspace,
  train: Gram,
  options: { lambda: number; rank: number; validation?: ValidationRows; signal?: AbortSignal },
): Promise<RidgeSolution> {
  const { lambda, validation, signal } = options;
  const { inputs: n, outputs: m } = train;
  const rank = Math.min(options.rank, n, m);
  await train.complete();
  const penalty = lambda * meanDiagonal(train);
  using cholesky = await Cholesky.factor(workspace, train.xx, penalty, signal);
  // ZᵀZ = XYᵀ·C⁻¹·XY is only multiplied with, some columns at a time: Z itself would be as much work as all else together.
  using buffer = engine.buffer(2);
  const yx = buffer.tensor('f32', [m, n]); // n rows of m
  const u = buffer.tensor('f32', [n, Math.min(m, rank + oversampling)]);
  buffer.allocate();
  const turn = workspace.begin();
  turn.run(turn.copy(turn.transpose(train.xy), yx));
  await turn.compute(signal);
  /** C⁻¹·XᵀY·v for rows v of m values. */
  const solve = (g: Graph, rows: Float32Array, count: number) => {
    const into = g.rowsOf(u, 0, count);
    cholesky.solveLower(g, g.mulMat(yx, g.input('f32', [m, count], rows)), into);
    cholesky.solveUpper(g, into, into);
    return into;
  };
  const multiply: Multiply = async (rows, count) => {
    const g = workspace.begin();
    const product = g.output(g.mulMat(train.xy, solve(g, rows, count)));
    await g.compute(signal);
    return product.read(new Float32Array(count * m));
  };
  const { vectors, values } = await topEigenvectors(multiply, m, rank);
  const last = workspace.begin();
  solve(last, vectors, rank);
  await last.compute(signal);
  const a = u.read(new Float32Array(rank * n));
  const b = new Float32Array(m * rank);
  for (let k = 0; k < rank; k++) for (let o = 0; o < m; o++) b[o * rank + k] = vectors[k * m + o]!;
  const factors: Factors = { inputs: n, outputs: m, rank, a, b };
  const validationCurve =
    validation && validation.rows > 0 ? await validation.curve(workspace, a, vectors, rank, signal) : undefined;
  const explained = explainedShares(a, values, penalty, train.yy.toFloat32()[0]!);
  return { lambda, factors, gains: values, explained, validationCurve };
}

/**
 * What the components explain. With C·uₖ = XᵀY·vₖ the k-th lowers the squared error by 2·uₖᵀXᵀY·vₖ - |X·uₖ|² = uₖᵀC·uₖ + λ'|uₖ|², and
 * uₖᵀC·uₖ is its eigenvalue of ZᵀZ.
 */
function explainedShares(a: Float32Array, gains: Float64Array, penalty: number, total: number): Float64Array {
  const shares = new Float64Array(gains.length + 1);
  const n = a.length / gains.length;
  for (let k = 0; k < gains.length; k++) {
    let size = 0;
    for (let i = k * n; i < (k + 1) * n; i++) size += a[i]! ** 2;
    shares[k + 1] = shares[k]! + (total > 0 ? (gains[k]! + penalty * size) / total : 0);
  }
  return shares;
}

/** The first `rank` components. */
export function truncate(factors: Factors, rank: number): Factors {
  if (rank >= factors.rank) return factors;
  const { inputs, outputs } = factors;
  const b = new Float32Array(outputs * rank);
  for (let o = 0; o < outputs; o++) b.set(factors.b.subarray(o * factors.rank, o * factors.rank + rank), o * rank);
  return { inputs, outputs, rank, a: factors.a.slice(0, rank * inputs), b };
}
