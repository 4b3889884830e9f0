import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../base/random.js';
import {
  averageFactors,
  type Factors,
  jacobiSvd,
  type ModuleFactors,
  sumFactors,
  thinQr,
  truncateFactors,
} from './factors.js';

const [inputs, outputs] = [7, 9];
function draw(seed: number, rank: number): ModuleFactors {
  const random = new Random(seed);
  const values = (n: number) => Float32Array.from({ length: n }, () => random.normal());
  return {
    layer: 0,
    module: 'attn_q',
    factors: { inputs, outputs, rank, a: values(rank * inputs), b: values(outputs * rank) },
  };
}
/** B·A, [outputs][inputs]. */
const dense = ({ rank, a, b }: Factors): number[] =>
  Array.from({ length: outputs * inputs }, (_, at) => {
    const [o, i] = [Math.floor(at / inputs), at % inputs];
    let sum = 0;
    for (let r = 0; r < rank; r++) sum += b[o * rank + r]! * a[r * inputs + i]!;
    return sum;
  });
const square = (values: readonly number[]) => values.reduce((sum, x) => sum + x * x, 0);
const minus = (x: readonly number[], y: readonly number[]) => x.map((value, i) => value - y[i]!);
const meanOf = (list: readonly Factors[]) =>
  list.map(dense).reduce((x, y) => x.map((v, i) => v + y[i]! / list.length), new Array(outputs * inputs).fill(0));

describe('averageFactors', () => {
  const adapters = [draw(1, 2), draw(2, 3), draw(3, 2)];
  const wanted = meanOf(adapters.map(({ factors }) => factors));

  it('is the mean of the products where the rank holds it', () => {
    for (const rank of [7, 20]) {
      const [{ factors }] = averageFactors(
        adapters.map((one) => [one]),
        rank,
      ) as [ModuleFactors];
      assert.ok(factors.rank <= 7);
      assert.ok(square(minus(dense(factors), wanted)) < 1e-10 * square(wanted));
    }
  });

  it('cut to a rank is nearer than what any other factors of that rank give', () => {
    // Alternating least squares from a random start converges to a best approximation too (no local minima: Baldi and Hornik 1989).
    for (const rank of [1, 3, 5]) {
      const [{ factors }] = averageFactors(
        adapters.map((one) => [one]),
        rank,
      ) as [ModuleFactors];
      assert.equal(factors.rank, rank);
      const found = square(minus(dense(factors), wanted));
      // What is left is orthogonal to what was kept, on both sides: the condition of a truncated SVD.
      const rest = minus(wanted, dense(factors));
      for (let r = 0; r < rank; r++) {
        for (let o = 0; o < outputs; o++) {
          let dot = 0;
          for (let i = 0; i < inputs; i++) dot += rest[o * inputs + i]! * factors.a[r * inputs + i]!;
          assert.ok(Math.abs(dot) < 1e-4, `row ${o}: ${dot}`);
        }
        for (let i = 0; i < inputs; i++) {
          let dot = 0;
          for (let o = 0; o < outputs; o++) dot += rest[o * inputs + i]! * factors.b[o * rank + r]!;
          assert.ok(Math.abs(dot) < 1e-4, `column ${i}: ${dot}`);
        }
      }
      for (let trial = 0; trial < 20; trial++) {
        const near: Factors = {
          ...factors,
          a: factors.a.map((x, k) => x + 0.05 * new Random(trial, k).normal()),
          b: factors.b.map((x, k) => x + 0.05 * new Random(trial, 999 + k).normal()),
        };
        assert.ok(square(minus(dense(near), wanted)) >= found);
      }
    }
  });

  it('of the same adapter several times is that adapter, though its factors then depend on one another', () => {
    const one = draw(4, 3);
    const [{ factors }] = averageFactors([[one], [one], [one]], 3) as [ModuleFactors];
    assert.equal(factors.rank, 3);
    const same = dense(one.factors);
    assert.ok(square(minus(dense(factors), same)) < 1e-8 * square(same));
  });

  it('of nothing is nothing', () => {
    const zero = { ...draw(5, 3), factors: { ...draw(5, 3).factors, b: new Float32Array(outputs * 3) } };
    const [{ factors }] = averageFactors([[zero], [zero]], 2) as [ModuleFactors];
    assert.ok(dense(factors).every((x) => x === 0));
  });
});

const random = new Random(3);
const normal = (n: number) => Float64Array.from({ length: n }, () => random.normal());
const dot = (x: ArrayLike<number>, y: ArrayLike<number>) => Array.from(x).reduce((sum, v, i) => sum + v * y[i]!, 0);

/** ΔW with known singular values, in random orthonormal directions. */
function known(values: readonly number[], inputs: number, outputs: number): Factors {
  const rank = values.length;
  const [p, q] = [inputs, outputs].map((length) => values.map(() => normal(length)));
  thinQr(p!);
  thinQr(q!);
  const a = new Float32Array(rank * inputs);
  const b = new Float32Array(outputs * rank);
  for (const [r, column] of p!.entries()) a.set(column, r * inputs);
  values.forEach((value, r) => {
    for (let o = 0; o < outputs; o++) b[o * rank + r] = value * q![r]![o]!;
  });
  return { inputs, outputs, rank, a, b };
}

it('thin QR: the basis is orthonormal, the triangle is one, and their product is the matrix', () => {
  const columns = Array.from({ length: 6 }, () => normal(20));
  // One that depends on two others, and a zero.
  columns[3] = columns[0]!.map((x, i) => 2 * x - columns[1]![i]!);
  columns[4] = new Float64Array(20);
  const before = columns.map((column) => column.slice());
  const r = thinQr(columns);
  for (let i = 0; i < 6; i++) {
    for (let j = 0; j < 6; j++) {
      const expected = i === j && i !== 3 && i !== 4 ? 1 : 0;
      assert.ok(Math.abs(dot(columns[i]!, columns[j]!) - expected) < 1e-14);
      if (i > j) assert.equal(r[i * 6 + j], 0);
    }
    for (let k = 0; k < 20; k++) {
      let product = 0;
      for (let j = 0; j <= i; j++) product += columns[j]![k]! * r[j * 6 + i]!;
      assert.ok(Math.abs(product - before[i]![k]!) < 1e-13);
    }
  }
});

it('Jacobi SVD: orthonormal on both sides, descending, and the product is the matrix', () => {
  const n = 9;
  for (const m of [normal(n * n), new Float64Array(n * n), normal(n * n).map((x, i) => (i % n < 4 ? x : 0))]) {
    const { values, u, v } = jacobiSvd(m, n);
    for (let i = 0; i < n; i++) {
      if (i > 0) assert.ok(values[i]! <= values[i - 1]!);
      for (let j = 0; j < n; j++) {
        assert.ok(Math.abs(dot(v[i]!, v[j]!) - (i === j ? 1 : 0)) < 1e-13);
        if (values[i]! > 1e-12 && values[j]! > 1e-12) {
          assert.ok(Math.abs(dot(u[i]!, u[j]!) - (i === j ? 1 : 0)) < 1e-13);
        }
        let product = 0;
        for (let k = 0; k < n; k++) product += values[k]! * u[k]![i]! * v[k]![j]!;
        assert.ok(Math.abs(product - m[i * n + j]!) < 1e-12);
      }
    }
  }
});

it('truncation finds singular values over ten powers of ten, and tells what is lost', () => {
  const values = [100, 3, 3, 1e-2, 1e-4, 1e-7];
  const factors = known(values, 30, 40);
  const whole = truncateFactors(factors, { rank: 6 });
  // B is stored in f32: each value is disturbed by at most the rounding of its own column.
  for (const [i, value] of values.entries()) {
    assert.ok(Math.abs(whole.values[i]! / value - 1) < 1e-5, `${whole.values[i]} for ${value}`);
  }
  const total = values.reduce((sum, x) => sum + x * x, 0);
  for (let rank = 1; rank <= 6; rank++) {
    const cut = truncateFactors(factors, { rank });
    assert.equal(cut.factors.rank, rank);
    const lost = values.slice(rank).reduce((sum, x) => sum + x * x, 0) / total;
    assert.ok(Math.abs(cut.lost - lost) <= 1e-5 * lost, `${cut.lost}, expected ${lost}`);
    // What is left over is the difference: its own largest singular value is the next one.
    const rest = sumFactors([
      { factors, weight: 1 },
      { factors: cut.factors, weight: -1 },
    ]);
    const next = truncateFactors(rest, { rank: 1 }).values[0]!;
    assert.ok(Math.abs(next - (values[rank] ?? 0)) < 1e-5 * values[rank - 1]! + 1e-5, `${next}`);
  }
});

it('by energy: the least rank that keeps it', () => {
  const factors = known([4, 2, 1, 0.5], 10, 12);
  const total = 16 + 4 + 1 + 0.25;
  for (const [energy, rank] of [
    [16 / total - 1e-4, 1],
    [16 / total + 1e-4, 2],
    [20 / total + 1e-4, 3],
    [21 / total + 1e-4, 4],
    [0, 1],
  ] as const) {
    assert.equal(truncateFactors(factors, { energy }).factors.rank, rank, `${energy}`);
  }
});

it('ranks that add nothing are dropped', () => {
  const factors = known([2, 1], 10, 12);
  const doubled = sumFactors([
    { factors, weight: 0.5 },
    { factors, weight: 0.5 },
  ]);
  assert.equal(doubled.rank, 4);
  const cut = truncateFactors(doubled, { rank: 4 });
  assert.equal(cut.factors.rank, 2);
  assert.ok(Math.abs(cut.values[0]! - 2) < 1e-6 && Math.abs(cut.values[1]! - 1) < 1e-6);
});
