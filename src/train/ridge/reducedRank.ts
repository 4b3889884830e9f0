import { Random } from '../../base/random.js';
import type { Graph, Workspace } from '../../engine/graph.js';
import type { Tensor } from '../../engine/tensor.js';
import type { Factors } from '../../model/factors.js';
import { Cholesky } from './cholesky.js';
import { type Gram, meanDiagonal } from './gram.js';
import type { ValidationRows } from './validation.js';

/** Extra directions carried along, so that the wanted ones converge (Halko, Martinsson and Tropp 2011, §4.2). */
const oversampling = 8;
/** Rounds of subspace iteration; with a Rayleigh-Ritz step at the end four are enough for the spectra met here. */
const iterations = 4;

/** Rows of m values -> the matrix times each. */
type Multiply = (rows: Float32Array, count: number) => Promise<Float32Array<ArrayBuffer>>;

/**
 * The `count` leading eigenvectors of a symmetric positive semi-definite matrix [m, m], by subspace iteration from a fixed random
 * start. The matrix is only multiplied with.
 * @returns vectors as `count` rows of m values (row-major, orthonormal), and eigenvalues, both in descending order
 */
export async function topEigenvectors(
  multiply: Multiply,
  m: number,
  count: number,
): Promise<{ vectors: Float32Array; values: Float64Array }> {
  const width = Math.min(m, count + oversampling);
  const random = new Random(1, m);
  let basis = new Float32Array(width * m).map(() => random.normal());
  orthonormalise(basis, width, m);
  let image = await multiply(basis, width);
  for (let i = 0; i < iterations; i++) {
    basis = image;
    orthonormalise(basis, width, m);
    image = await multiply(basis, width);
  }
  // Rayleigh-Ritz: the eigenproblem within the subspace.
  const small = new Float64Array(width * width);
  for (let i = 0; i < width; i++) {
    for (let j = i; j < width; j++) {
      let sum = 0;
      for (let k = 0; k < m; k++) sum += basis[i * m + k]! * image[j * m + k]!;
      small[i * width + j] = sum;
      small[j * width + i] = sum;
    }
  }
  const { values, vectors: rotation } = jacobi(small, width);
  const kept = Math.min(count, width);
  const vectors = new Float32Array(kept * m);
  for (let r = 0; r < kept; r++) {
    for (let i = 0; i < width; i++) {
      const weight = rotation[i * width + r]!;
      for (let k = 0; k < m; k++) vectors[r * m + k]! += weight * basis[i * m + k]!;
    }
  }
  return { vectors, values: values.slice(0, kept) };
}

/** Multiplies with an f32 matrix [m, m]. */
export function multiplyWith(workspace: Workspace, matrix: Tensor, signal?: AbortSignal): Multiply {
  const m = matrix.ne[0];
  return async (rows, count) => {
    const g = workspace.begin();
    const product = g.output(g.mulMat(matrix, g.input('f32', [m, count], rows)));
    await g.compute(signal);
    return product.read(new Float32Array(count * m));
  };
}

/** Orthonormalises rows in place: modified Gram-Schmidt, twice, since once loses orthogonality in f32 (Giraud et al. 2005). */
function orthonormalise(rows: Float32Array, count: number, length: number): void {
  for (let i = 0; i < count; i++) {
    const row = rows.subarray(i * length, (i + 1) * length);
    for (let pass = 0; pass < 2; pass++) {
      for (let j = 0; j < i; j++) {
        const other = rows.subarray(j * length, (j + 1) * length);
        let dot = 0;
        for (let k = 0; k < length; k++) dot += row[k]! * other[k]!;
        for (let k = 0; k < length; k++) row[k]! -= dot * other[k]!;
      }
    }
    let norm = 0;
    for (let k = 0; k < length; k++) norm += row[k]! ** 2;
    norm = Math.sqrt(norm);
    // A direction of no size (rank below `count`) stays zero: it then contributes nothing to the adapter.
    const factor = norm > 1e-30 ? 1 / norm : 0;
    for (let k = 0; k < length; k++) row[k]! *= factor;
  }
}

/** Eigenvalues (descending) and eigenvectors (columns) of a small symmetric row-major matrix: cyclic Jacobi (Golub and Van Loan §8.5). */
export function jacobi(input: Float64Array, n: number): { values: Float64Array; vectors: Float64Array } {
  const a = Float64Array.from(input);
  const v = new Float64Array(n * n);
  for (let i = 0; i < n; i++) v[i * n + i] = 1;
  const scale = Math.max(...Array.from({ length: n }, (_, i) => Math.abs(a[i * n + i]!)), 1e-300);
  for (let sweep = 0; sweep < 30; sweep++) {
    let off = 0;
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) off = Math.max(off, Math.abs(a[p * n + q]!));
    if (off <= 1e-13 * scale) break;
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        const apq = a[p * n + q]!;
        if (Math.abs(apq) <= 1e-15 * scale) continue;
        const theta = (a[q * n + q]! - a[p * n + p]!) / (2 * apq);
        const t = Math.sign(theta || 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
        const c = 1 / Math.sqrt(t * t + 1);
        const s = t * c;
        for (let k = 0; k < n; k++) {
          const akp = a[k * n + p]!;
          const akq = a[k * n + q]!;
          a[k * n + p] = c * akp - s * akq;
          a[k * n + q] = s * akp + c * akq;
        }
        for (let k = 0; k < n; k++) {
          const apk = a[p * n + k]!;
          const aqk = a[q * n + k]!;
          a[p * n + k] = c * apk - s * aqk;
          a[q * n + k] = s * apk + c * aqk;
          const vkp = v[k * n + p]!;
          const vkq = v[k * n + q]!;
          v[k * n + p] = c * vkp - s * vkq;
          v[k * n + q] = s * vkp + c * vkq;
        }
      }
    }
  }
  const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => a[j * n + j]! - a[i * n + i]!);
  const values = Float64Array.from(order, (i) => a[i * n + i]!);
  const vectors = new Float64Array(n * n);
  order.forEach((from, to) => {
    for (let k = 0; k < n; k++) vectors[k * n + to] = v[k * n + from]!;
  });
  return { values, vectors };
}

interface RidgeSolution {
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
  workspace: Workspace,
  train: Gram,
  options: { lambda: number; rank: number; validation?: ValidationRows; signal?: AbortSignal },
): Promise<RidgeSolution> {
  const { lambda, validation, signal } = options;
  const { inputs: n, outputs: m } = train;
  const rank = Math.min(options.rank, n, m);
  await train.complete();
  // What the walk computed in is idle now, and the factor is as large as all statistics.
  workspace.release();
  const penalty = lambda * meanDiagonal(train);
  using cholesky = await Cholesky.factor(workspace, train.xx, penalty, signal);
  // ZᵀZ = XYᵀ·C⁻¹·XY is only multiplied with, some columns at a time: Z itself would be as much work as all else together.
  using buffer = workspace.engine.buffer(2);
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
