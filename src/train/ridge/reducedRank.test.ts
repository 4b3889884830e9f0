import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { Random } from '../../base/random.js';
import { Engine } from '../../engine/engine.js';
import { Cholesky } from './cholesky.js';
import { Gram } from './gram.js';
import { combine } from './labelSweeps.js';
import { jacobi, reducedRankRidge, truncate } from './reducedRank.js';
import { ValidationRows } from './validation.js';

const engine = new Engine({ threads: 2, kernels: 'reference' });
const workspace = engine.workspace(4096);
after(() => {
  workspace[Symbol.dispose]();
  engine[Symbol.dispose]();
});

type Matrix = Float64Array[];
const random = new Random(7);
const normal = (rows: number, columns: number): Matrix =>
  Array.from({ length: rows }, () => Float64Array.from({ length: columns }, () => random.normal()));
const zeros = (rows: number, columns: number): Matrix => Array.from({ length: rows }, () => new Float64Array(columns));
function multiply(a: Matrix, b: Matrix): Matrix {
  const out = zeros(a.length, b[0]!.length);
  a.forEach((row, i) => {
    row.forEach((x, k) => {
      for (let j = 0; j < out[i]!.length; j++) out[i]![j]! += x * b[k]![j]!;
    });
  });
  return out;
}
const transpose = (a: Matrix): Matrix => Array.from(a[0]!, (_, j) => Float64Array.from(a, (row) => row[j]!));
const subtract = (a: Matrix, b: Matrix): Matrix => a.map((row, i) => row.map((x, j) => x - b[i]![j]!));
const norm2 = (a: Matrix): number => a.reduce((sum, row) => sum + row.reduce((s, x) => s + x * x, 0), 0);
const flat = (a: Matrix): Float32Array => Float32Array.from(a.flatMap((row) => [...row]));

/** Gaussian elimination with partial pivoting: an independent solver in f64. */
function solve(a: Matrix, b: Matrix): Matrix {
  const n = a.length;
  const left = a.map((row) => Float64Array.from(row));
  const right = b.map((row) => Float64Array.from(row));
  for (let c = 0; c < n; c++) {
    let pivot = c;
    for (let r = c + 1; r < n; r++) if (Math.abs(left[r]![c]!) > Math.abs(left[pivot]![c]!)) pivot = r;
    [left[c], left[pivot]] = [left[pivot]!, left[c]!];
    [right[c], right[pivot]] = [right[pivot]!, right[c]!];
    for (let r = 0; r < n; r++) {
      if (r === c) continue;
      const f = left[r]![c]! / left[c]![c]!;
      if (f === 0) continue;
      for (let k = c; k < n; k++) left[r]![k]! -= f * left[c]![k]!;
      for (let k = 0; k < right[r]!.length; k++) right[r]![k]! -= f * right[c]![k]!;
    }
  }
  return right.map((row, i) => row.map((x) => x / left[i]![i]!));
}

/** Rows of a data matrix into a Gram, in two batches as they would stream in. */
async function gramOf(x: Matrix, y: Matrix): Promise<Gram> {
  const gram = new Gram(workspace, x[0]!.length, y[0]!.length);
  const half = Math.ceil(x.length / 2);
  for (const [from, to] of [
    [0, half],
    [half, x.length],
  ] as const) {
    const g = workspace.begin();
    const rows = to - from;
    gram.add(
      g,
      g.input('f32', [x[0]!.length, rows], flat(x.slice(from, to))),
      g.input('f32', [y[0]!.length, rows], flat(y.slice(from, to))),
    );
    await g.compute();
    await gram.computed();
  }
  await gram.complete();
  return gram;
}

/** ΔW as [inputs x outputs]. */
function dense({
  inputs,
  outputs,
  rank,
  a,
  b,
}: {
  inputs: number;
  outputs: number;
  rank: number;
  a: Float32Array;
  b: Float32Array;
}): Matrix {
  const w = zeros(inputs, outputs);
  for (let i = 0; i < inputs; i++)
    for (let o = 0; o < outputs; o++) for (let k = 0; k < rank; k++) w[i]![o]! += a[k * inputs + i]! * b[o * rank + k]!;
  return w;
}

describe('Cholesky', () => {
  for (const n of [1, 5, 128, 129, 300]) {
    it(`factors and solves a ${n} x ${n} system`, async () => {
      const x = normal(2 * n + 3, n);
      const c = multiply(transpose(x), x);
      const gram = await gramOf(x, normal(2 * n + 3, 1));
      const shift = 0.5 * n;
      using cholesky = await Cholesky.factor(workspace, gram.xx, shift);
      for (let i = 0; i < n; i++) c[i]![i]! += shift;
      const rhs = normal(3, n); // three right-hand sides as rows
      using buffer = engine.buffer(2);
      const z = buffer.tensor('f32', [n, 3]);
      const u = buffer.tensor('f32', [n, 3]);
      buffer.allocate();
      const g = workspace.begin();
      cholesky.solveLower(g, g.input('f32', [n, 3], flat(rhs)), z);
      cholesky.solveUpper(g, z, u);
      await g.compute();
      const expected = flat(transpose(solve(c, transpose(rhs))));
      const found = u.toFloat32();
      const scale = Math.max(...expected.map(Math.abs));
      found.forEach((value, i) => {
        assert.ok(Math.abs(value - expected[i]!) < 1e-4 * scale, `${i}: ${value} vs ${expected[i]}`);
      });
      gram[Symbol.dispose]();
    });
  }

  it('refuses a matrix that is not positive definite, naming the pivot', async () => {
    const gram = await gramOf([Float64Array.of(1, 1), Float64Array.of(1, 1)], normal(2, 1));
    await assert.rejects(Cholesky.factor(workspace, gram.xx, -5), /not positive definite \(pivot/);
    gram[Symbol.dispose]();
  });
});

describe('Gram', () => {
  // More inputs than one block of columns, so that the halves are put together.
  const [n, m, rows] = [700, 3, 40];
  const [x, y] = [normal(rows, n), normal(rows, m)];
  for (const kernels of ['reference', 'fast'] as const) {
    it(`is the products of all rows streamed in, ${kernels} kernels`, async () => {
      const own = new Engine({ threads: 2, kernels });
      const room = own.workspace(256);
      const gram = new Gram(room, n, m);
      for (const part of [x.slice(0, 25), x.slice(25)]) {
        const first = part === x ? 0 : x.indexOf(part[0]!);
        const g = room.begin();
        const [xs, ys] = [flat(part), flat(y.slice(first, first + part.length))];
        gram.add(g, g.input('f32', [n, part.length], xs), g.input('f32', [m, part.length], ys));
        await g.compute();
        await gram.computed();
      }
      await gram.complete();
      const check = (found: Float32Array, expected: Matrix, name: string) => {
        // q8_0 keeps 7 bits of each factor; the sum of 40 products of size 1 is then right to a few tenths.
        const tolerance = kernels === 'fast' ? 0.3 : 1e-4;
        flat(expected).forEach((value, i) => {
          assert.ok(Math.abs(found[i]! - value) < tolerance, `${name} ${i}: ${found[i]} instead of ${value}`);
        });
      };
      check(gram.xx.toFloat32(), multiply(transpose(x), x), 'XᵀX');
      check(gram.xy.toFloat32(), transpose(multiply(transpose(x), y)), 'XᵀY');
      assert.ok(Math.abs(gram.yy.toFloat32()[0]! / norm2(y) - 1) < 1e-5);
      gram[Symbol.dispose]();
      room[Symbol.dispose]();
      own[Symbol.dispose]();
    });
  }
});

describe('combine', () => {
  it('of two corrections is the best approximation of their sum on the data', async () => {
    const [n, m] = [60, 30];
    const x = normal(200, n);
    const gram = await gramOf(x, normal(200, m));
    const random3 = (
      r: number,
    ): { inputs: number; outputs: number; rank: number; a: Float32Array; b: Float32Array } => ({
      inputs: n,
      outputs: m,
      rank: r,
      a: flat(normal(r, n)),
      b: flat(normal(m, r)),
    });
    const [first, second] = [random3(4), random3(5)];
    const sum = dense(first).map((row, i) => row.map((v, j) => v + 0.5 * dense(second)[i]![j]!));
    const whole = await combine(workspace, gram, [first, second], { scale: 0.5, rank: 9 });
    assert.ok(norm2(subtract(dense(whole), sum)) < 1e-8 * norm2(sum), 'nothing is lost where the rank suffices');
    const short = await combine(workspace, gram, [first, second], { scale: 0.5, rank: 3 });
    assert.equal(short.rank, 3);
    // The smallest possible error on the data: the eigenvalues of (XW)ᵀXW that are left out.
    const outputs = multiply(x, sum);
    const { values } = jacobi(Float64Array.from(multiply(transpose(outputs), outputs).flatMap((row) => [...row])), m);
    const best = values.slice(3).reduce((s, v) => s + v, 0);
    const error = norm2(subtract(multiply(x, dense(short)), outputs));
    assert.ok(error < 1.02 * best, `error ${error}, best ${best}`);
    gram[Symbol.dispose]();
  });
});

describe('reducedRankRidge', () => {
  const [n, m, rows] = [150, 40, 400];
  const x = normal(rows, n);
  // Inputs of very different size and correlated, as activations are.
  for (const row of x) for (let i = 0; i < n; i++) row[i] = row[i]! * (1 + (i % 7) * 3) + row[0]!;
  const truth = multiply(normal(n, 6), normal(6, m));
  const y = multiply(x, truth).map((row) => row.map((v) => v + 20 * random.normal()));
  const lambda = 0.1;
  const xx = multiply(transpose(x), x);
  const shift = (lambda * xx.reduce((s, row, i) => s + row[i]!, 0)) / n;
  const ridged = xx.map((row, i) => row.map((v, j) => (i === j ? v + shift : v)));
  const full = solve(ridged, multiply(transpose(x), y));
  /** |Y - XW|² + λ'|W|² */
  const objective = (w: Matrix) => norm2(subtract(y, multiply(x, w))) + shift * norm2(w);

  it('at full rank is dense ridge regression', async () => {
    const gram = await gramOf(x, y);
    const { factors } = await reducedRankRidge(workspace, gram, { lambda, rank: m });
    const error = norm2(subtract(dense(factors), full)) / norm2(full);
    assert.ok(error < 1e-6, `relative squared difference ${error}`);
    gram[Symbol.dispose]();
  });

  it('at rank r reaches the optimum given by a dense SVD in the metric of C', async () => {
    const gram = await gramOf(x, y);
    const r = 4;
    const { factors, gains, explained } = await reducedRankRidge(workspace, gram, { lambda, rank: r });
    // Dense reference: eigenvectors of Wᵀ·C·W, computed in f64 by another route.
    const metric = multiply(transpose(full), multiply(ridged, full));
    const { values, vectors } = jacobi(Float64Array.from(metric.flatMap((row) => [...row])), m);
    const v = zeros(m, r);
    for (let i = 0; i < m; i++) for (let k = 0; k < r; k++) v[i]![k] = vectors[i * m + k]!;
    const best = multiply(multiply(full, v), transpose(v));
    const [found, expected] = [objective(dense(factors)), objective(best)];
    assert.ok(Math.abs(found / expected - 1) < 1e-5, `objective ${found}, optimum ${expected}`);
    for (let k = 0; k < r; k++) assert.ok(Math.abs(gains[k]! / values[k]! - 1) < 1e-3);
    for (let k = 0; k <= r; k++) {
      const w = k === 0 ? zeros(n, m) : dense(truncate(factors, k));
      const share = 1 - norm2(subtract(y, multiply(x, w))) / norm2(y);
      assert.ok(Math.abs(explained[k]! - share) < 1e-4, `rank ${k}: ${explained[k]}, expected ${share}`);
    }
    // and truncating SVD(W) itself, without the metric, is worse
    const plain = jacobi(Float64Array.from(multiply(transpose(full), full).flatMap((row) => [...row])), m);
    const pv = zeros(m, r);
    for (let i = 0; i < m; i++) for (let k = 0; k < r; k++) pv[i]![k] = plain.vectors[i * m + k]!;
    assert.ok(found < objective(multiply(multiply(full, pv), transpose(pv))));
    gram[Symbol.dispose]();
  });

  it('gives the validation error of every smaller rank', async () => {
    const gram = await gramOf(x, y);
    const xv = normal(60, n);
    const yv = multiply(xv, truth);
    const validation = new ValidationRows();
    for (const [from, to] of [
      [0, 25],
      [25, 60],
    ] as const) {
      const g = workspace.begin();
      const inputs = g.scale(g.input('f32', [n, to - from], flat(xv.slice(from, to))), 1);
      validation.add(g, inputs, g.scale(g.input('f32', [m, to - from], flat(yv.slice(from, to))), 1));
      await g.compute();
      validation.computed();
    }
    assert.equal(validation.rows, 60);
    const { factors, validationCurve } = await reducedRankRidge(workspace, gram, {
      lambda,
      rank: 10,
      validation,
    });
    for (const rank of [0, 1, 3, 10]) {
      const w = rank === 0 ? zeros(n, m) : dense(truncate(factors, rank));
      const expected = norm2(subtract(yv, multiply(xv, w))) / norm2(yv);
      assert.ok(Math.abs(validationCurve![rank]! - expected) < 1e-3 * Math.max(1, expected));
    }
    gram[Symbol.dispose]();
  });

  it('handles fewer rows than inputs and a rank beyond the outputs', async () => {
    const few = x.slice(0, 20);
    const gram = await gramOf(few, y.slice(0, 20));
    const { factors } = await reducedRankRidge(workspace, gram, { lambda, rank: 64 });
    assert.equal(factors.rank, m);
    assert.ok(factors.a.every(Number.isFinite) && factors.b.every(Number.isFinite));
    gram[Symbol.dispose]();
  });
});
