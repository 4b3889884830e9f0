import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Random } from '../base/random.js';
import { causalMask } from '../model/batch.js';
import { Engine } from './engine.js';
import type { Graph } from './graph.js';
import { placeLinear } from './placement.js';
import { quantizeRows } from './rows.js';
import type { Tensor } from './tensor.js';
import { type TensorTypeName, tensorTypes } from './tensorTypes.js';

/** Sizes that divide into no equal shares: of rows among threads, and of rows into the tiles of a kernel. */
const [inputs, outputs, tokens] = [96, 160, 37] as const;
const [headDim, heads, kvHeads] = [16, 6, 2] as const;
const types: readonly TensorTypeName[] = ['f32', 'f16', 'bf16', 'q8_0', 'q4_0', 'q4_1', 'q5_0'];
const rope = {
  dimensions: headDim,
  mode: 'norm',
  contextOriginal: 512,
  base: 1e4,
  scale: 1,
  extFactor: 0,
  attnFactor: 1,
  betaFast: 32,
  betaSlow: 1,
} as const;

/** Every operation of training and ridge, on the same numbers. */
async function results(threads: number): Promise<Map<string, Float32Array>> {
  using engine = new Engine({ threads });
  using workspace = engine.workspace(1024);
  const random = new Random(5);
  const draw = (n: number) => Float32Array.from({ length: n }, () => random.normal());
  const linears = await Promise.all(
    types.map(async (type) => {
      const data = quantizeRows(type, draw(inputs * outputs), inputs);
      const source = { type: tensorTypes[type], shape: [inputs, outputs], read: async () => data };
      return [type, await placeLinear(engine, source)] as const;
    }),
  );
  const g: Graph = workspace.begin();
  const input = (...dims: number[]) => g.input('f32', dims, draw(dims.reduce((a, b) => a * b, 1)));
  const x = input(inputs, tokens);
  const y = input(outputs, tokens);
  const q = input(headDim, tokens, heads, 2);
  const [k, v] = [input(headDim, tokens, kvHeads, 2), input(headDim, tokens, kvHeads, 2)];
  const mask = g.input('f16', [tokens, tokens], causalMask(tokens));
  const positions = g.input(
    'i32',
    [tokens],
    Int32Array.from({ length: tokens }, (_, i) => i),
  );
  const scores = g.softMax(g.mulMat(k, q), mask, 0.25);
  const made: Record<string, Tensor> = {
    'a product for each head': g.mulMat(k, q),
    'outer products over tokens': g.outProd(x, y),
    'outer products over a few': g.outProd(input(outputs, 5), input(tokens, 5)),
    'outer products of heads': g.outProd(q, scores),
    norm: g.rmsNorm(x, 1e-5),
    'norm, normed rows weighted': g.mul(g.rmsNorm(x, 1e-5), input(inputs)),
    'back through a norm': g.rmsNormBack(input(inputs, tokens), x, 1e-5),
    softmax: scores,
    'back through a softmax': g.softMaxBack(input(tokens, tokens, heads, 2), scores, 0.25),
    attention: g.flashAttention(q, k, v, mask, 0.25),
    rotation: g.rope(input(headDim, heads, tokens), positions, null, rope),
    'rotation back': g.ropeBack(input(headDim, heads, tokens), positions, null, rope),
    silu: g.silu(x),
    'back through silu': g.siluBack(input(inputs, tokens), x),
    swiglu: g.swiglu(x, input(inputs, tokens)),
    geglu: g.geglu(x, input(inputs, tokens)),
    sum: g.sum(x),
    'sums of rows': g.sumRows(g.reshape(x, 32, (inputs / 32) * tokens)),
    'rows added up': g.getRowsBack(input(inputs, tokens), positions, input(inputs, tokens + 3)),
    concatenation: g.concat(x, y, 0),
    transposition: g.cont(g.transpose(x)),
    'a sum': g.add(x, input(inputs)),
  };
  for (const [type, linear] of linears) made[`product with ${type} (${linear.placement})`] = linear.apply(g, x);
  for (const tensor of Object.values(made)) g.output(tensor);
  await g.compute();
  const found = new Map(Object.entries(made).map(([name, tensor]) => [name, tensor.toFloat32()]));
  for (const [, linear] of linears) linear[Symbol.dispose]();
  return found;
}

it('no operation has other bits with another number of threads', async () => {
  const alone = await results(1);
  for (const threads of [2, 3, 5]) {
    const others = await results(threads);
    for (const [name, values] of alone) {
      assert.ok(
        values.every((value, i) => Object.is(value, others.get(name)![i])),
        `${name} with ${threads} threads`,
      );
    }
  }
});
