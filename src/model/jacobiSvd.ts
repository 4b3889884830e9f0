/** Rotations stop when the cosine of the angle between any two columns is at most this. */
const tolerance = 1e-15;
const maxSweeps = 60;

export interface Svd {
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
