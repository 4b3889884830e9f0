import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../util/random.js';
import { averageFactors } from './averageFactors.js';
import type { Factors, ModuleFactors } from './lora.js';

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
