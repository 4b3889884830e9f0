import assert from 'node:assert/strict';
import { it } from 'node:test';
import { bfloatsToFloats, halvesToFloats } from '../base/floats.js';
import { Random } from '../base/random.js';
import { dequantize, quantizeRows } from './rows.js';
import { tensorTypes } from './tensorTypes.js';

const random = new Random(1);
const values = new Float32Array(512).map(() => random.normal());

it('gives back what was quantised, to the step of each type', () => {
  // Largest error over the largest value of a block: half a step of 2^bits levels, twice that for types that clip one end.
  for (const [name, bound] of [
    ['q8_0', 1 / 250],
    ['q6_k', 1 / 30],
    ['q5_1', 1 / 15],
    ['q5_k', 1 / 12],
    ['q4_0', 1 / 7],
    ['q4_1', 1 / 7],
    ['q4_k', 1 / 6],
  ] as const) {
    const type = tensorTypes[name];
    const bytes = quantizeRows(name, values, 256);
    const back = dequantize(type, bytes);
    assert.equal(back.length, values.length);
    const largest = Math.max(...values.map(Math.abs));
    back.forEach((x, i) => {
      if (!(Math.abs(x - values[i]!) <= bound * largest)) assert.fail(`${name}: ${x} for ${values[i]}`);
    });
    assert.ok(back.some((x) => x !== 0));
  }
});

it('floating types are exact', () => {
  const half = quantizeRows('f16', values, 256);
  assert.deepEqual(dequantize(tensorTypes.f16, half), halvesToFloats(new Uint16Array(half.slice().buffer)));
  const brain = quantizeRows('bf16', values, 256);
  assert.deepEqual(dequantize(tensorTypes.bf16, brain), bfloatsToFloats(new Uint16Array(brain.slice().buffer)));
  assert.deepEqual(dequantize(tensorTypes.f32, quantizeRows('f32', values, 256)), values);
});

it('parts of blocks and integers are refused', () => {
  assert.throws(() => dequantize(tensorTypes.q8_0, new Uint8Array(33)), RangeError);
  assert.throws(() => dequantize(tensorTypes.i32, new Uint8Array(4)), /i32/);
});
