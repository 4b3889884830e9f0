import { jacobiSvd } from './jacobiSvd.js';
import type { Factors } from './lora.js';
import { thinQr } from './thinQr.js';

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
