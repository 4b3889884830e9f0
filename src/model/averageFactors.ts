import type { Factors, ModuleFactors } from './lora.js';

/** Rotations stop when what they remove is so small a share of the diagonal. */
const jacobiTolerance = 1e-22;
const jacobiSweeps = 60;
/** Added to the Gram matrix of B, relative to its trace: B may have columns that depend on one another. */
const jitter = 1e-12;

/**
 * The mean of several adapters' corrections, ΔW = Σ BᵢAᵢ / n, as factors of at most `rank`: the truncated SVD of ΔW, which is the nearest
 * of that rank (Eckart and Young 1936). Averaging weights of runs from one start: Wortsman et al., Model soups, 2022.
 * @param adapters the same modules in the same order
 */
export function averageFactors(adapters: readonly (readonly ModuleFactors[])[], rank: number): ModuleFactors[] {
  return adapters[0]!.map((first, index) => ({
    ...first,
    factors: truncate(mean(adapters.map((adapter) => adapter[index]!.factors)), rank),
  }));
}

/** All rows of A under one another, all columns of B beside one another. */
function mean(list: readonly Factors[]): Factors {
  const { inputs, outputs } = list[0]!;
  const rank = list.reduce((sum, factors) => sum + factors.rank, 0);
  const a = new Float32Array(rank * inputs);
  const b = new Float32Array(outputs * rank);
  let at = 0;
  for (const factors of list) {
    a.set(factors.a, at * inputs);
    for (let o = 0; o < outputs; o++) {
      for (let r = 0; r < factors.rank; r++) b[o * rank + at + r] = factors.b[o * factors.rank + r]! / list.length;
    }
    at += factors.rank;
  }
  return { inputs, outputs, rank, a, b };
}

/** B·A to at most `rank`, by the eigenvectors of a matrix of the old rank's size: with BᵀB = C·Cᵀ, B = Q·Cᵀ and B·A = Q·(CᵀA). */
function truncate(factors: Factors, rank: number): Factors {
  const { inputs, outputs, rank: r, a, b } = factors;
  if (r <= rank) return factors;
  const gramA = gram(r, inputs, (i, k) => a[i * inputs + k]!);
  const gramB = gram(r, outputs, (i, k) => b[k * r + i]!);
  const trace = sumOf(r, (i) => gramB[i * r + i]!);
  for (let i = 0; i < r; i++) gramB[i * r + i]! += jitter * trace + Number.MIN_VALUE;
  const c = cholesky(gramB, r);
  // Cᵀ·(A·Aᵀ)·C: eigenvalues are the squares of the singular values of B·A.
  const half = product(
    r,
    (i, k) => gramA[i * r + k]!,
    (k, j) => c[k * r + j]!,
  );
  const small = product(
    r,
    (i, k) => c[k * r + i]!,
    (k, j) => half[k * r + j]!,
  );
  const { values, vectors } = symmetricEigen(small, r);
  const order = [...values.keys()].sort((i, j) => values[j]! - values[i]!).slice(0, rank);
  const cutA = new Float32Array(order.length * inputs);
  const cutB = new Float32Array(outputs * order.length);
  order.forEach((e, n) => {
    // Row n of A is vᵀCᵀA, column n of B is Q·v = B·C⁻ᵀ·v.
    const weights = Float64Array.from({ length: r }, (_, i) => sumOf(r, (k) => c[i * r + k]! * vectors[k * r + e]!));
    const solved = new Float64Array(r);
    for (let i = r - 1; i >= 0; i--) {
      let rest = vectors[i * r + e]!;
      for (let k = i + 1; k < r; k++) rest -= c[k * r + i]! * solved[k]!;
      solved[i] = rest / c[i * r + i]!;
    }
    for (let k = 0; k < inputs; k++) cutA[n * inputs + k] = sumOf(r, (i) => weights[i]! * a[i * inputs + k]!);
    for (let o = 0; o < outputs; o++) cutB[o * order.length + n] = sumOf(r, (i) => b[o * r + i]! * solved[i]!);
  });
  return { inputs, outputs, rank: order.length, a: cutA, b: cutB };
}

function sumOf(n: number, value: (i: number) => number): number {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += value(i);
  return sum;
}

/** Inner products of `rows` rows of `length` values. */
function gram(rows: number, length: number, at: (row: number, k: number) => number): Float64Array {
  const out = new Float64Array(rows * rows);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j <= i; j++) out[i * rows + j] = out[j * rows + i] = sumOf(length, (k) => at(i, k) * at(j, k));
  }
  return out;
}

function product(n: number, left: (i: number, k: number) => number, right: (k: number, j: number) => number) {
  return Float64Array.from({ length: n * n }, (_, at) =>
    sumOf(n, (k) => left(Math.floor(at / n), k) * right(k, at % n)),
  );
}

/** Lower C with C·Cᵀ = m. */
function cholesky(m: Float64Array, n: number): Float64Array {
  const c = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      const rest = m[i * n + j]! - sumOf(j, (k) => c[i * n + k]! * c[j * n + k]!);
      c[i * n + j] = i === j ? Math.sqrt(Math.max(rest, Number.MIN_VALUE)) : rest / c[j * n + j]!;
    }
  }
  return c;
}

/** Eigenvalues, and eigenvectors as columns, by Jacobi's rotations (Golub and Van Loan, Matrix Computations, 8.5). */
function symmetricEigen(symmetric: Float64Array, n: number): { values: Float64Array; vectors: Float64Array } {
  const m = symmetric.slice();
  const vectors = new Float64Array(n * n);
  for (let i = 0; i < n; i++) vectors[i * n + i] = 1;
  for (let sweep = 0; sweep < jacobiSweeps; sweep++) {
    let off = 0;
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) off += m[p * n + q]! ** 2;
    const diagonal = sumOf(n, (i) => m[i * n + i]! ** 2);
    if (off <= jacobiTolerance * diagonal) break;
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) rotate(m, vectors, n, p, q);
  }
  return { values: Float64Array.from({ length: n }, (_, i) => m[i * n + i]!), vectors };
}

function rotate(m: Float64Array, vectors: Float64Array, n: number, p: number, q: number): void {
  const x = m[p * n + q]!;
  if (x === 0) return;
  const theta = (m[q * n + q]! - m[p * n + p]!) / (2 * x);
  const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
  const c = 1 / Math.sqrt(t * t + 1);
  const s = t * c;
  const turn = (list: Float64Array, i: number, j: number) => {
    const [u, v] = [list[i]!, list[j]!];
    list[i] = c * u - s * v;
    list[j] = s * u + c * v;
  };
  for (let i = 0; i < n; i++) turn(m, i * n + p, i * n + q);
  for (let i = 0; i < n; i++) turn(m, p * n + i, q * n + i);
  for (let i = 0; i < n; i++) turn(vectors, i * n + p, i * n + q);
}
