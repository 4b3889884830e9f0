import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { Random } from '../../base/random.js';
import { Engine } from '../../engine/engine.js';
import { throughNorm, unweighted, weighted } from './target.js';

const engine = new Engine({ threads: 1, kernels: 'reference' });
const workspace = engine.workspace(256);
after(() => {
  workspace[Symbol.dispose]();
  engine[Symbol.dispose]();
});
const random = new Random(31);
const epsilon = 1e-6;
const [inputs, outputs, rows] = [12, 9, 5] as const;
const normal = (n: number, scale = 1) => Float32Array.from({ length: n }, () => scale * random.normal());
const rowOf = (values: ArrayLike<number>, row: number, width: number) =>
  Array.from({ length: width }, (_, i) => values[row * width + i]!);
const length = (v: readonly number[]) => Math.sqrt(v.reduce((sum, x) => sum + x * x, 0));
const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, i) => sum + x * b[i]!, 0);

/** What the linear's output z becomes in the measured stream. */
function normed(z: readonly number[], weights: ArrayLike<number>): number[] {
  const size = Math.sqrt(z.reduce((sum, x) => sum + x * x, 0) / z.length + epsilon);
  return z.map((x, i) => (weights[i]! * x) / size);
}

async function carry(x: Float32Array, z: Float32Array, y: Float32Array, weights: Float32Array) {
  const g = workspace.begin();
  const carried = throughNorm(
    g,
    {
      x: g.input('f32', [inputs, rows], x),
      z: g.input('f32', [outputs, rows], z),
      y: g.input('f32', [outputs, rows], y),
    },
    weights,
    epsilon,
  );
  const [cx, cy] = [g.output(carried.x), g.output(carried.y)];
  await g.compute();
  return { x: cx.toFloat32(), y: cy.toFloat32() };
}

/** The change of a linear's output that makes a carried change: r·y'/m. */
function outputChange(z: readonly number[], carried: readonly number[], weights: ArrayLike<number>): number[] {
  const size = Math.sqrt(z.reduce((sum, x) => sum + x * x, 0) / z.length + epsilon);
  return carried.map((y, i) => (size * y) / weights[i]!);
}

describe('a change carried back through a norm', () => {
  // Signs, and sizes orders of magnitude apart, as the norms of published models have them.
  const weights = normal(outputs).map((w, i) => (w < 0 ? -1 : 1) * (0.5 + Math.abs(w)) * 10 ** ((i % 3) - 1));
  const z = normal(outputs * rows, 3);
  const x = normal(inputs * rows);

  it('makes a small change that the linear can make, but for its square', async () => {
    for (const step of [1e-2, 1e-3]) {
      // What some change of the outputs does is a change that can be made.
      const moved = z.map((value) => value + step * random.normal() * 3);
      const y = new Float32Array(outputs * rows);
      for (let row = 0; row < rows; row++) {
        const [from, to] = [normed(rowOf(z, row, outputs), weights), normed(rowOf(moved, row, outputs), weights)];
        y.set(
          to.map((value, i) => value - from[i]!),
          row * outputs,
        );
      }
      const carried = await carry(x, z, y, weights);
      for (let row = 0; row < rows; row++) {
        const from = rowOf(z, row, outputs);
        const change = outputChange(from, rowOf(carried.y, row, outputs), weights);
        const got = normed(
          from.map((value, i) => value + change[i]!),
          weights,
        );
        const wanted = rowOf(y, row, outputs);
        const before = normed(from, weights);
        const missed = length(got.map((value, i) => value - before[i]! - wanted[i]!));
        assert.ok(missed < 10 * step * length(wanted), `step ${step}: missed by ${missed} of ${length(wanted)}`);
      }
    }
  });

  it('is the nearest one that the linear can make, to first order', async () => {
    const y = normal(outputs * rows);
    const carried = await carry(x, z, y, weights);
    for (let row = 0; row < rows; row++) {
      const even = normed(rowOf(z, row, outputs), new Float32Array(outputs).fill(1));
      const [wanted, found] = [rowOf(y, row, outputs), rowOf(carried.y, row, outputs)];
      // Changes that can be made are m ⊙ t with t at right angles to ẑ, and it is one of them ...
      const tangent = found.map((value, i) => value / weights[i]!);
      assert.ok(Math.abs(dot(tangent, even)) < 1e-4 * length(tangent) * length(even));
      // ... and what is missing is at right angles to all of them.
      const missing = wanted.map((value, i) => value - found[i]!);
      assert.ok(length(missing) > 1e-3);
      for (let trial = 0; trial < 10; trial++) {
        const t = rowOf(normal(outputs), 0, outputs);
        const along = dot(t, even) / dot(even, even);
        const possible = t.map((value, i) => weights[i]! * (value - along * even[i]!));
        assert.ok(Math.abs(dot(possible, missing)) < 1e-4 * length(possible) * length(missing));
      }
    }
  });

  it('does not depend on the size of the outputs, only the inputs are divided by it', async () => {
    const y = normal(outputs * rows);
    const once = await carry(x, z, y, weights);
    const tenfold = await carry(
      x,
      z.map((value) => 10 * value),
      y,
      weights,
    );
    const near = (a: number, b: number) => Math.abs(a - b) <= 1e-4 * (Math.abs(a) + 0.01);
    once.y.forEach((value, i) => {
      assert.ok(near(value, tenfold.y[i]!), `${value} and ${tenfold.y[i]}`);
    });
    once.x.forEach((value, i) => {
      assert.ok(near(value / 10, tenfold.x[i]!), `${value} and ${tenfold.x[i]}`);
    });
  });

  it('is made by factors whose outputs are divided by the weights', () => {
    const rank = 2;
    const factors = { inputs, outputs, rank, a: normal(rank * inputs), b: normal(outputs * rank) };
    const linear = unweighted(factors, weights);
    for (let o = 0; o < outputs; o++) {
      for (let r = 0; r < rank; r++) {
        const [made, stream] = [linear.b[o * rank + r]! * weights[o]!, factors.b[o * rank + r]!];
        assert.ok(Math.abs(made - stream) < 1e-6 * (1 + Math.abs(stream)));
      }
    }
    assert.deepEqual(linear.a, factors.a);
    const back = weighted(linear, weights);
    back.b.forEach((value, i) => {
      assert.ok(Math.abs(value - factors.b[i]!) < 1e-6 * (1 + Math.abs(value)));
    });
    assert.equal(unweighted(factors, undefined), factors);
  });
});
