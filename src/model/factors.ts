import type { Engine } from '../engine/engine.js';
import type { TensorBuffer } from '../engine/tensor.js';
import type { LayerLinear } from '../families/family.js';
import type { LayerLora } from './block.js';

/** Low-rank factors of one linear in LoRA's layout (Hu et al. 2021): ΔW = B·A, any scale folded in. */
export interface Factors {
  readonly inputs: number;
  readonly outputs: number;
  readonly rank: number;
  /** `rank` rows of `inputs` values. */
  readonly a: Float32Array;
  /** `outputs` rows of `rank` values. */
  readonly b: Float32Array;
}

/** The largest magnitude of some values; infinite if one is not a number. */
export function largest(values: Float32Array): number {
  let most = 0;
  for (const x of values) {
    const size = Math.abs(x);
    if (!(size <= most)) most = size > most ? size : Number.POSITIVE_INFINITY;
  }
  return most;
}

/**
 * What a weight may be corrected by at most: weights are below 100, and beyond this the squares that a norm sums, of what the feed-forward
 * part multiplies with itself, leave the range of f32. Answers are then made of values that are no numbers.
 */
const maxCorrection = 1e7;

/** What makes factors useless, each of whose products is multiplied by `scale`: the words to follow their name; undefined if nothing does. */
export function factorsProblem({ rank, a, b }: Factors, scale = 1): string | undefined {
  const [sizeA, sizeB] = [largest(a), largest(b)];
  if (!Number.isFinite(sizeA) || !Number.isFinite(sizeB)) return 'holds values that are not finite';
  const most = Math.abs(scale) * rank * sizeA * sizeB;
  // A scale may overflow what it is multiplied into by itself.
  if (most <= maxCorrection && Math.abs(scale) * sizeB <= maxFloat) return undefined;
  return `corrects weights by up to ${most.toExponential(0)}, expected at most ${maxCorrection.toExponential(0)}`;
}

const maxFloat = 3.4028234663852886e38;

/** Factors with the linear they correct. */
export interface ModuleFactors {
  readonly layer: number;
  readonly module: LayerLinear;
  readonly factors: Factors;
}

/** A dense matrix of `rows` rows of `columns` values with rows and columns exchanged. */
export function transposed(values: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(rows * columns);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = values[i * columns + j]!;
  return out;
}

/** The factors of one layer in memory that graphs can use. */
export class PlacedLora implements Disposable {
  readonly lora: LayerLora;
  private readonly buffer: TensorBuffer | undefined;

  constructor(engine: Engine, modules: readonly Pick<ModuleFactors, 'module' | 'factors'>[]) {
    const used = modules.filter(({ factors }) => factors.rank > 0);
    const lora: LayerLora = {};
    this.lora = lora;
    if (used.length === 0) return;
    this.buffer = engine.buffer(2 * used.length);
    const placed = used.map(({ module, factors }) => ({
      module,
      factors,
      a: this.buffer!.tensor('f32', [factors.inputs, factors.rank]),
      b: this.buffer!.tensor('f32', [factors.outputs, factors.rank]),
    }));
    this.buffer.allocate();
    for (const { module, factors, a, b } of placed) {
      a.write(factors.a);
      b.write(transposed(factors.b, factors.outputs, factors.rank));
      lora[module] = { a, b, scale: 1 };
    }
  }

  [Symbol.dispose](): void {
    this.buffer?.[Symbol.dispose]();
  }
}

/** The factors of each layer, in one list a layer. */
export function byLayer(modules: readonly ModuleFactors[], layers: number): ModuleFactors[][] {
  const lists: ModuleFactors[][] = Array.from({ length: layers }, () => []);
  for (const module of modules) lists[module.layer]?.push(module);
  return lists;
}

/** Σ weight · B·A of several corrections of one linear, exactly, at the sum of their ranks: rows of A under one another, columns of B side by side. */
export function sumFactors(terms: readonly { factors: Factors; weight: number }[]): Factors {
  const { inputs, outputs } = terms[0]!.factors;
  const rank = terms.reduce((sum, { factors }) => sum + factors.rank, 0);
  const a = new Float32Array(rank * inputs);
  const b = new Float32Array(outputs * rank);
  let at = 0;
  for (const { factors, weight } of terms) {
    if (factors.inputs !== inputs || factors.outputs !== outputs) {
      throw new RangeError(`factors of ${factors.inputs} x ${factors.outputs} and ${inputs} x ${outputs}`);
    }
    a.set(factors.a, at * inputs);
    for (let o = 0; o < outputs; o++) {
      for (let r = 0; r < factors.rank; r++) b[o * rank + at + r] = weight * factors.b[o * factors.rank + r]!;
    }
    at += factors.rank;
  }
  return { inputs, outputs, rank, a, b };
}

/** Rotations stop when the cosine of the angle between any two columns is at most this. */
const tolerance = 1e-15;
const maxSweeps = 60;

interface Svd {
  /** Descending. */
  readonly values: Float64Array;
  /** Column n of U: `u[n]`, of unit length, or zero where the value is. */
  readonly u: readonly Float64Array[];
  /** Column n of V, orthonormal. */
  readonly v: readonly Float64Array[];
}

/**
 * M = Σ values[n] · u[n] · v[n]ᵀ of a square matrix, by one-sided Jacobi rotations (Hestenes 1958; Demmel and Veselić 1992: small singular
 * values are as exact as large ones).
 * @param rows n x n in rows
 */
export function jacobiSvd(rows: Float64Array, n: number): Svd {
  const columns = Array.from({ length: n }, (_, j) => Float64Array.from({ length: n }, (_, i) => rows[i * n + j]!));
  const v = Array.from({ length: n }, (_, j) => Float64Array.from({ length: n }, (_, i) => (i === j ? 1 : 0)));
  let rotated = true;
  for (let sweep = 0; rotated && sweep < maxSweeps; sweep++) {
    rotated = false;
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        const [x, y] = [columns[p]!, columns[q]!];
        let xx = 0;
        let yy = 0;
        let xy = 0;
        for (let i = 0; i < n; i++) {
          xx += x[i]! * x[i]!;
          yy += y[i]! * y[i]!;
          xy += x[i]! * y[i]!;
        }
        if (xy === 0 || Math.abs(xy) <= tolerance * Math.sqrt(xx * yy)) continue;
        rotated = true;
        const theta = (yy - xx) / (2 * xy);
        const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
        const c = 1 / Math.sqrt(t * t + 1);
        turn(x, y, c, c * t);
        turn(v[p]!, v[q]!, c, c * t);
      }
    }
  }
  const lengths = columns.map((column) => Math.hypot(...column));
  const order = lengths.map((_, i) => i).sort((i, j) => lengths[j]! - lengths[i]!);
  return {
    values: Float64Array.from(order, (i) => lengths[i]!),
    u: order.map((i) => (lengths[i]! > 0 ? columns[i]!.map((x) => x / lengths[i]!) : columns[i]!)),
    v: order.map((i) => v[i]!),
  };
}

function turn(x: Float64Array, y: Float64Array, c: number, s: number): void {
  for (let i = 0; i < x.length; i++) {
    const [a, b] = [x[i]!, y[i]!];
    x[i] = c * a - s * b;
    y[i] = s * a + c * b;
  }
}

/**
 * Columns of a tall matrix as an orthonormal basis times a triangle: column j = Σ_{i ≤ j} q_i · r[i·n + j]. By Gram-Schmidt, each column
 * twice, which leaves the basis orthonormal to the precision of f64 (Giraud, Langou and Rozloznik 2005). A column that depends on those
 * before it gives no new direction: its q is zero.
 * @param columns changed into the basis
 * @returns r, n x n in rows, upper triangular
 */
export function thinQr(columns: readonly Float64Array[]): Float64Array {
  const n = columns.length;
  const r = new Float64Array(n * n);
  for (let j = 0; j < n; j++) {
    const column = columns[j]!;
    const before = norm(column);
    for (let pass = 0; pass < 2; pass++) {
      for (let i = 0; i < j; i++) {
        const q = columns[i]!;
        let along = 0;
        for (let k = 0; k < q.length; k++) along += q[k]! * column[k]!;
        if (along === 0) continue;
        for (let k = 0; k < q.length; k++) column[k]! -= along * q[k]!;
        r[i * n + j]! += along;
      }
    }
    const left = norm(column);
    if (left <= dependent * before) {
      column.fill(0);
      continue;
    }
    r[j * n + j] = left;
    for (let k = 0; k < column.length; k++) column[k]! /= left;
  }
  return r;
}

/** What is left of a column after two passes is rounding when it is so small beside the column. */
const dependent = 1e-14;

function norm(values: Float64Array): number {
  let sum = 0;
  for (let k = 0; k < values.length; k++) sum += values[k]! * values[k]!;
  return Math.sqrt(sum);
}

export interface Truncated {
  factors: Factors;
  /** Singular values of ΔW = B·A, descending; as many as the factors had ranks. */
  values: Float64Array;
  /** Share of ‖ΔW‖² (Frobenius) that is lost, 0 to 1. */
  lost: number;
}

/** What decides the new rank: a number, or the share of ‖ΔW‖² to keep, 0 to 1. */
export type TruncateTo = { rank: number } | { energy: number };

/**
 * ΔW = B·A to a lower rank, the nearest of that rank in Frobenius' and the spectral norm (Eckart and Young 1936), without forming ΔW:
 * with B = Q·R and Aᵀ = P·S (thin QR), ΔW = Q·(R·Sᵀ)·Pᵀ, and the SVD is that of a matrix of the old rank's size. A and B share the
 * singular values evenly. Singular values of zero are dropped in any case, but one rank stays.
 */
export function truncateFactors({ inputs, outputs, rank: r, a, b }: Factors, to: TruncateTo): Truncated {
  const p = Array.from({ length: r }, (_, i) => Float64Array.from(a.subarray(i * inputs, (i + 1) * inputs)));
  const q = Array.from({ length: r }, (_, i) => Float64Array.from({ length: outputs }, (_, o) => b[o * r + i]!));
  const [s, t] = [thinQr(p), thinQr(q)];
  const core = new Float64Array(r * r);
  for (let i = 0; i < r; i++) {
    for (let j = 0; j < r; j++) {
      let sum = 0;
      for (let k = Math.max(i, j); k < r; k++) sum += t[i * r + k]! * s[j * r + k]!;
      core[i * r + j] = sum;
    }
  }
  const { values, u, v } = jacobiSvd(core, r);
  const total = energyOf(values);
  const rank = Math.max(1, Math.min(wantedRank(values, total, to), count(values)));
  const cutA = new Float32Array(rank * inputs);
  const cutB = new Float32Array(outputs * rank);
  for (let n = 0; n < rank; n++) {
    const share = Math.sqrt(values[n]!);
    const rowA = combine(p, v[n]!, share, inputs);
    cutA.set(rowA, n * inputs);
    const columnB = combine(q, u[n]!, share, outputs);
    for (let o = 0; o < outputs; o++) cutB[o * rank + n] = columnB[o]!;
  }
  const lost = total > 0 ? energyOf(values.subarray(rank)) / total : 0;
  return { factors: { inputs, outputs, rank, a: cutA, b: cutB }, values, lost };
}

function energyOf(values: Float64Array): number {
  return values.reduce((sum, x) => sum + x * x, 0);
}

/** Singular values that are not rounding of zero. */
function count(values: Float64Array): number {
  return values.findLastIndex((x) => x > values[0]! * 1e-14) + 1;
}

function wantedRank(values: Float64Array, total: number, to: TruncateTo): number {
  if ('rank' in to) return to.rank;
  // The tail is summed from its small end: 1 - kept would round it away.
  let tail = 0;
  for (let n = values.length; n > 0; n--) {
    tail += values[n - 1]! ** 2;
    if (tail > (1 - to.energy) * total) return n;
  }
  return 1;
}

/** Σ weights[i] · factor · columns[i] */
function combine(
  columns: readonly Float64Array[],
  weights: Float64Array,
  factor: number,
  length: number,
): Float64Array {
  const out = new Float64Array(length);
  columns.forEach((column, i) => {
    const weight = weights[i]! * factor;
    if (weight !== 0) for (let k = 0; k < length; k++) out[k]! += weight * column[k]!;
  });
  return out;
}

/**
 * The mean of several adapters' corrections, ΔW = Σ BᵢAᵢ / n, as factors of at most `rank`: the nearest of that rank. Averaging weights of
 * runs from one start: Wortsman et al., Model soups, 2022.
 * @param adapters the same modules in the same order
 */
export function averageFactors(adapters: readonly (readonly ModuleFactors[])[], rank: number): ModuleFactors[] {
  return adapters[0]!.map((first, index) => {
    const terms = adapters.map((adapter) => ({ factors: adapter[index]!.factors, weight: 1 / adapters.length }));
    const sum = sumFactors(terms);
    return { ...first, factors: sum.rank <= rank ? sum : truncateFactors(sum, { rank }).factors };
  });
}
