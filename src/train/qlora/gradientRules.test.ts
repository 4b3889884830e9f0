import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../../base/random.js';
import { Engine } from '../../engine/engine.js';
import type { Graph } from '../../engine/graph.js';
import type { Operations } from '../../engine/operations.js';
import type { Tensor } from '../../engine/tensor.js';
import { causalMask } from '../../model/batch.js';
import { gradientRules } from './gradientRules.js';
import { Tape } from './tape.js';

const engine = new Engine({ threads: 1, kernels: 'reference' });
const workspace = engine.workspace(512);

interface Case {
  /** Shapes of the arguments whose gradients are checked. */
  shapes: number[][];
  /** Builds the result from them; `constant` makes further inputs. */
  build: (
    ops: Operations,
    inputs: Tensor[],
    constant: (type: 'f32' | 'i32' | 'f16', dims: number[], data: ArrayBufferView) => Tensor,
  ) => Tensor;
  /** Values of the arguments: standard normal by default. */
  values?: (random: Random) => number;
  tolerance?: number;
}

/** Forward value of Σ w·result for fixed random weights w, and with `gradients` what the tape says its derivatives are. */
async function evaluate({ shapes, build }: Case, values: readonly Float32Array[], gradients: boolean) {
  const g: Graph = workspace.begin();
  const tape = new Tape(g);
  const inputs = shapes.map((dims, i) => tape.watch(g.input('f32', dims, values[i]!)));
  const result = build(tape, inputs, (type, dims, data) => g.input(type, dims, data));
  const random = new Random(99);
  const w = Float32Array.from({ length: result.elements }, () => random.normal());
  const weights = g.input('f32', [...result.ne], w);
  const dense = result.contiguous ? result : g.cont(result);
  g.output(dense);
  const found = new Map<Tensor, Tensor>();
  if (gradients)
    tape.backward(new Map([[result, weights]]), (tensor, gradient) =>
      found.set(tensor, g.output(gradient.contiguous ? gradient : g.cont(gradient))),
    );
  await g.compute();
  const y = dense.toFloat32();
  let value = 0;
  for (let i = 0; i < y.length; i++) value += y[i]! * w[i]!;
  return { value, gradients: inputs.map((input) => found.get(input)?.toFloat32()) };
}

/** Central differences of the forward value agree with the tape's gradient, for every element of every argument. */
async function check(test: Case) {
  const random = new Random(7);
  const draw = test.values ?? ((r: Random) => r.normal());
  const values = test.shapes.map((dims) =>
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => draw(random)),
  );
  const { gradients } = await evaluate(test, values, true);
  const step = 1e-2;
  for (const [i, value] of values.entries()) {
    const gradient = gradients[i];
    assert.ok(gradient, `argument ${i} has a gradient`);
    assert.equal(gradient.length, value.length);
    const size = Math.sqrt(gradient.reduce((sum, x) => sum + x * x, 0) / gradient.length);
    assert.ok(size > 1e-3, 'the gradient is not trivially zero');
    for (let k = 0; k < value.length; k++) {
      const at = value[k]!;
      const probe = async (x: number) => {
        value[k] = x;
        return (await evaluate(test, values, false)).value;
      };
      const numeric = ((await probe(at + step)) - (await probe(at - step))) / (2 * step);
      value[k] = at;
      const error = Math.abs(numeric - gradient[k]!);
      assert.ok(
        error < (test.tolerance ?? 5e-3) * (size + Math.abs(numeric)),
        `argument ${i}[${k}]: ${gradient[k]} by rule, ${numeric} by differences`,
      );
    }
  }
}

const positions = (n: number, length: number) => Int32Array.from({ length: n }, (_, i) => i % length);
const rope = (mode: 'norm' | 'neox') =>
  ({
    dimensions: 4,
    mode,
    contextOriginal: 64,
    base: 100,
    scale: 1,
    extFactor: 0,
    attnFactor: 1,
    betaFast: 32,
    betaSlow: 1,
  }) as const;

/** Sizes of the delta rule: [d, heads of keys, heads, tokens, sequences]. */
const delta = ([d, keyHeads, heads, tokens, sequences]: number[]): Case => ({
  shapes: [
    [d!, keyHeads!, tokens!, sequences!],
    [d!, keyHeads!, tokens!, sequences!],
    [d!, heads!, tokens!, sequences!],
    [1, heads!, tokens!, sequences!],
    [1, heads!, tokens!, sequences!],
    [d!, d!, heads!, sequences!],
  ],
  build: (o, [q, k, v, g, b, s]) => o.gatedDelta(q!, k!, v!, o.scale(o.softplus(g!), -0.3), o.sigmoid(b!), s!),
  values: (random) => 0.5 * random.normal(),
});

const cases: Record<string, Case> = {
  exp: { shapes: [[4, 3]], build: (o, [a]) => o.exp(a!) },
  sigmoid: { shapes: [[4, 3]], build: (o, [a]) => o.sigmoid(a!) },
  softplus: { shapes: [[4, 3]], build: (o, [a]) => o.softplus(a!) },
  sumRows: { shapes: [[4, 3, 2]], build: (o, [a]) => o.sumRows(a!) },
  padColumns: { shapes: [[4, 3, 2]], build: (o, [a]) => o.sqr(o.padColumns(a!, 2)) },
  padRows: { shapes: [[4, 3, 2]], build: (o, [a]) => o.sqr(o.padRows(a!, 2)) },
  triangle: { shapes: [[4, 4, 2]], build: (o, [a]) => o.triangle(a!, 'strictlyLower') },
  inverseLower: {
    shapes: [[4, 4, 2]],
    build: (o, [a]) => o.inverseLower(o.add(o.scale(a!, 0.3), o.identity(a!))),
  },
  'gatedDelta, one sequence': delta([4, 2, 2, 5, 1]),
  'gatedDelta, more heads of values than of keys, two sequences': delta([4, 1, 2, 3, 2]),

  add: {
    shapes: [
      [4, 3],
      [4, 3],
    ],
    build: (o, [a, b]) => o.add(a!, b!),
  },
  'add, second argument repeated over rows': { shapes: [[4, 3], [4]], build: (o, [a, b]) => o.add(a!, b!) },
  'add, a tensor with itself': { shapes: [[4, 3]], build: (o, [a]) => o.add(a!, a!) },
  sub: {
    shapes: [
      [4, 3],
      [4, 3],
    ],
    build: (o, [a, b]) => o.sub(a!, b!),
  },
  mul: {
    shapes: [
      [4, 3],
      [4, 3],
    ],
    build: (o, [a, b]) => o.mul(a!, b!),
  },
  'mul, second argument repeated over columns': {
    shapes: [
      [4, 3],
      [1, 3],
    ],
    build: (o, [a, b]) => o.mul(a!, b!),
  },
  scale: { shapes: [[5, 2]], build: (o, [a]) => o.scale(a!, -1.7) },
  sqr: { shapes: [[5, 2]], build: (o, [a]) => o.sqr(a!) },
  sum: { shapes: [[5, 2]], build: (o, [a]) => o.sum(a!) },
  silu: { shapes: [[5, 2]], build: (o, [a]) => o.silu(a!) },
  rmsNorm: { shapes: [[6, 3]], build: (o, [a]) => o.rmsNorm(a!, 1e-5) },
  mulMat: {
    shapes: [
      [4, 3],
      [4, 5],
    ],
    build: (o, [a, b]) => o.mulMat(a!, b!),
  },
  'mulMat, more rows than a rank has': {
    shapes: [
      [3, 67],
      [3, 4],
    ],
    build: (o, [a, b]) => o.mulMat(a!, b!),
  },
  outProd: {
    shapes: [
      [4, 3],
      [5, 3],
    ],
    build: (o, [a, b]) => o.outProd(a!, b!),
  },
  'outProd, second argument transposed': {
    shapes: [
      [4, 3],
      [3, 5],
    ],
    build: (o, [a, b]) => o.outProd(a!, o.transpose(b!)),
  },
  'mulMat, grouped heads and a batch': {
    shapes: [
      [4, 3, 2, 2],
      [4, 5, 6, 2],
    ],
    build: (o, [a, b]) => o.mulMat(a!, b!),
  },
  cont: { shapes: [[3, 4]], build: (o, [a]) => o.cont(o.transpose(a!)) },
  reshape: { shapes: [[6, 4]], build: (o, [a]) => o.reshape(a!, 3, 2, 4) },
  permute: { shapes: [[3, 4, 2, 2]], build: (o, [a]) => o.cont(o.permute(a!, 0, 2, 3, 1)) },
  transpose: { shapes: [[3, 4]], build: (o, [a]) => o.transpose(a!) },
  concat: {
    shapes: [
      [3, 2, 2],
      [3, 4, 2],
    ],
    build: (o, [a, b]) => o.concat(a!, b!, 1),
  },
  repeatTo: { shapes: [[3, 2, 2]], build: (o, [a]) => o.repeatTo(a!, 1, 2, 1, 3) },
  getRows: {
    shapes: [[4, 3]],
    build: (o, [a], constant) => o.getRows(a!, constant('i32', [4], Int32Array.of(2, 0, 2, 1))),
  },
  softMax: {
    shapes: [[5, 5]],
    build: (o, [a], constant) => o.softMax(a!, constant('f16', [5, 5], causalMask(5)), 0.6),
  },
  'rope, neighbouring pairs': {
    shapes: [[6, 2, 5]],
    build: (o, [a], constant) => o.rope(a!, constant('i32', [5], positions(5, 5)), null, rope('norm')),
  },
  'rope, halves, with factors': {
    shapes: [[6, 2, 5]],
    build: (o, [a], constant) =>
      o.rope(a!, constant('i32', [5], positions(5, 5)), constant('f32', [2], Float32Array.of(1, 3)), rope('neox')),
  },
  swiglu: {
    shapes: [
      [5, 2],
      [5, 2],
    ],
    build: (o, [a, b]) => o.swiglu(a!, b!),
  },
  // ggml looks gelu up in a table of f16 values, which differences of neighbouring arguments see.
  geglu: {
    shapes: [
      [5, 2],
      [5, 2],
    ],
    build: (o, [a, b]) => o.geglu(a!, b!),
    tolerance: 0.1,
  },
  'flashAttention, grouped heads, two sequences': {
    shapes: [
      [8, 5, 4, 2],
      [8, 5, 2, 2],
      [8, 5, 2, 2],
    ],
    build: (o, [q, k, v], constant) => o.flashAttention(q!, k!, v!, constant('f16', [5, 5], causalMask(5)), 0.5),
  },
  'flashAttention, two sequences that see the same keys first': {
    shapes: [
      [8, 4, 2, 2],
      [8, 4, 2, 2],
      [8, 3, 2],
    ],
    build: (o, [q, k, before], constant) => {
      const keys = o.concat(o.repeatTo(before!, 1, 1, 1, 2), k!, 1);
      const mask = constant('f16', [7, 4], causalMask(4, 1, 3));
      return o.flashAttention(q!, keys, keys, mask, 0.5);
    },
  },
  'flashAttention, three query heads a key head, from permuted activations': {
    shapes: [
      [8, 6, 4],
      [8, 2, 4],
      [8, 2, 4],
    ],
    build: (o, [q, k, v], constant) => {
      const byHead = (t: Tensor) => o.permute(t, 0, 2, 1, 3);
      return o.flashAttention(byHead(q!), byHead(k!), byHead(v!), constant('f16', [4, 4], causalMask(4)), 0.4);
    },
  },
};

describe('gradient rules agree with finite differences', () => {
  for (const [name, test] of Object.entries(cases)) it(name, () => check(test));

  it('every rule of the table is tried above', () => {
    const tried = Object.keys(cases).map((name) => name.split(',')[0]);
    assert.deepEqual(
      Object.keys(gradientRules).filter((op) => !tried.includes(op)),
      [],
    );
  });

  it('an operation without a rule is named when a gradient would have to pass it', () => {
    const g = workspace.begin();
    const tape = new Tape(g);
    const x = tape.watch(g.input('f32', [4], new Float32Array(4)));
    assert.throws(() => tape.tanh(x), /no gradient rule for the operation tanh/);
    // What no gradient has to pass needs no rule.
    tape.tanh(g.input('f32', [4], new Float32Array(4)));
  });
});
