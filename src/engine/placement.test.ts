import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { Random } from '../base/random.js';
import { type BufferType, Engine } from './engine.js';
import { fastestBufferType } from './placement.js';
import { TensorBuffer } from './tensor.js';
import { type TensorTypeName, tensorTypes } from './tensorTypes.js';

const engine = new Engine({ threads: 2 });
const workspace = engine.workspace(16);
after(() => {
  workspace[Symbol.dispose]();
  engine[Symbol.dispose]();
});
const random = new Random(5);

/** A random matrix as blocks of a type. */
async function blocks(name: TensorTypeName, inputs: number, outputs: number): Promise<Uint8Array> {
  using buffer = engine.buffer(2);
  const values = buffer.tensor('f32', [inputs, outputs]);
  const into = buffer.tensor(name, [inputs, outputs]);
  buffer.allocate();
  values.write(Float32Array.from({ length: inputs * outputs }, () => random.normal()));
  const g = workspace.begin();
  g.run(g.copy(values, into));
  await g.compute();
  return into.read(new Uint8Array(into.bytes));
}

async function product(
  layout: BufferType,
  name: TensorTypeName,
  shape: [number, number],
  data: Uint8Array,
  x: Float32Array,
): Promise<Float32Array> {
  using buffer = new TensorBuffer(layout.handle, 1);
  const weight = buffer.tensor(name, shape);
  buffer.allocate({ usage: 'weights' });
  await weight.writeAsync(data);
  const g = workspace.begin();
  const y = g.output(g.mulMat(weight, g.input('f32', [shape[0], x.length / shape[0]], x)));
  await g.compute();
  return y.toFloat32();
}

describe('the layout chosen for a weight', () => {
  // Quantised activations are the same in every layout, so that only the order of sums may differ; of f16 the rounding of activations.
  for (const [name, tolerance] of [
    ['q4_0', 1e-6],
    ['q4_1', 1e-6],
    ['q8_0', 1e-6],
    ['q4_k', 1e-6],
    ['q6_k', 1e-6],
    ['f16', 1e-3],
  ] as const) {
    it(`multiplies ${name} as the plain layout does, for rows of few blocks and any number of tokens`, async () => {
      for (const count of [1, 2, 3]) {
        const inputs = Math.max(32, tensorTypes[name].blockSize) * count;
        for (const outputs of [32, 96]) {
          const layout = fastestBufferType(engine.main, tensorTypes[name], inputs, outputs);
          const data = await blocks(name, inputs, outputs);
          for (const tokens of [1, 2, 31, 32, 33, 130]) {
            const x = Float32Array.from({ length: inputs * tokens }, () => random.normal());
            const wanted = await product(engine.main.plain, name, [inputs, outputs], data, x);
            const found = await product(layout, name, [inputs, outputs], data, x);
            const norm = Math.hypot(...wanted);
            const apart = Math.hypot(...found.map((value, i) => value - wanted[i]!)) / norm;
            assert.ok(apart <= tolerance, `${layout.name}, ${inputs} x ${outputs}, ${tokens} tokens: ${apart} apart`);
          }
        }
      }
    });
  }
});
