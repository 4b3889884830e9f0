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
