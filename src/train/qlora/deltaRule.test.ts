import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../../base/random.js';
import { Engine } from '../../engine/engine.js';
import { chunkTokens, type DeltaInputs, deltaInChunks } from './deltaRule.js';
import { Tape } from './tape.js';

const engine = new Engine({ threads: 1, kernels: 'reference' });
const workspace = engine.workspace(4096);
const [d, keyHeads, heads, sequences] = [8, 2, 4, 2];
const shapes = (tokens: number) =>
  ({
    queries: [d, keyHeads, tokens, sequences],
    keys: [d, keyHeads, tokens, sequences],
    values: [d, heads, tokens, sequences],
    decays: [1, heads, tokens, sequences],
    shares: [1, heads, tokens, sequences],
    states: [d, d, heads, sequences],
  }) as const;
type Name = keyof ReturnType<typeof shapes>;

/** Keys of length 1 that all point nearly the same way, shares near 1 and slow decays: what a delta rule has to solve is worst then. */
function draw(tokens: number) {
  const random = new Random(5);
  const size = ([a, b, c, e]: readonly number[]) => a! * b! * c! * e!;
  const values = (name: Name, of: () => number) => Float32Array.from({ length: size(shapes(tokens)[name]) }, of);
  const keys = values('keys', () => 1 + 0.1 * random.normal());
  for (let at = 0; at < keys.length; at += d) {
    const row = keys.subarray(at, at + d);
    const length = Math.hypot(...row);
    for (let i = 0; i < d; i++) row[i]! /= length;
  }
  return {
    queries: values('queries', () => random.normal()),
    keys,
    values: values('values', () => random.normal()),
    decays: values('decays', () => -0.02 * random.uniform()),
    shares: values('shares', () => 0.9 + 0.1 * random.uniform()),
    states: values('states', () => random.normal()),
  };
}

const rms = (x: Float32Array) => Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) / x.length);
const distance = (a: Float32Array, b: Float32Array) => rms(a.map((x, i) => x - b[i]!)) / rms(b);

describe('the gated delta rule in chunks', () => {
  for (const tokens of [1, chunkTokens, 2 * chunkTokens + 5]) {
    it(`is the rule token by token, of ${tokens} tokens`, async () => {
      const g = workspace.begin();
      const given = draw(tokens);
      const of = Object.fromEntries(
        Object.entries(shapes(tokens)).map(([name, dims]) => [name, g.input('f32', dims, given[name as Name])]),
      ) as unknown as DeltaInputs;
      const packed = g.output(g.gatedDelta(of.queries, of.keys, of.values, of.decays, of.shares, of.states));
      const { out, states } = deltaInChunks(g, of);
      const found = g.output(g.cont(g.permute(out, 0, 2, 1, 3)));
      const after = g.output(g.cont(states));
      await g.compute();
      const wanted = packed.toFloat32();
      assert.ok(distance(found.toFloat32(), wanted.subarray(0, found.elements)) < 1e-5);
      assert.ok(distance(after.toFloat32(), wanted.subarray(found.elements)) < 1e-5);
    });
  }

  it('has gradients across the borders of chunks', async () => {
    const tokens = chunkTokens + 6;
    const given = draw(tokens);
    const random = new Random(8);
    const weights = Float32Array.from({ length: d * heads * (tokens + d) * sequences }, () => random.normal());
    const evaluate = async (at: Readonly<Record<Name, Float32Array>>) => {
      const g = workspace.begin();
      const tape = new Tape(g);
      const inputs = Object.entries(shapes(tokens)).map(([name, dims]) =>
        tape.watch(g.input('f32', dims, at[name as Name])),
      );
      const [q, k, v, gs, b, s] = inputs as [never, never, never, never, never, never];
      const packed = g.output(tape.gatedDelta(q, k, v, gs, b, s));
      const seeds = new Map([[packed, g.input('f32', packed.ne, weights)]]);
      const found = inputs.map((input) => ({ input, gradient: input }));
      tape.backward(seeds, (tensor, gradient) => {
        found.find(({ input }) => input === tensor)!.gradient = g.output(g.cont(gradient));
      });
      await g.compute();
      const value = packed.toFloat32().reduce((sum, x, i) => sum + x * weights[i]!, 0);
      return { value, gradients: found.map(({ gradient }) => gradient.toFloat32()) };
    };
    const { gradients } = await evaluate(given);
    for (const [i, name] of (Object.keys(given) as Name[]).entries()) {
      // Along a random direction; each argument by itself.
      const way = given[name].map(() => random.normal());
      const along = async (step: number) =>
        (await evaluate({ ...given, [name]: given[name].map((x, k) => x + step * way[k]!) })).value;
      const step = 2e-3;
      const numeric = ((await along(step)) - (await along(-step))) / (2 * step);
      const exact = gradients[i]!.reduce((sum, x, k) => sum + x * way[k]!, 0);
      const size = rms(gradients[i]!) * Math.sqrt(way.length);
      assert.ok(Math.abs(exact - numeric) < 1e-2 * size, `${name}: ${exact}, by differences ${numeric} (size ${size})`);
    }
  });
});
