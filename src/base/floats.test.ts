import assert from 'node:assert/strict';
import { it } from 'node:test';
import { bfloatsToFloats, floatsToBfloats, floatsToHalves, halfToFloat, halvesToFloats } from './floats.js';

const every = Uint16Array.from({ length: 65536 }, (_, i) => i);
const bitsOf = (values: Float32Array) => new Uint32Array(values.buffer, values.byteOffset, values.length);
const fromBits = (bits: Iterable<number>) => new Float32Array(Uint32Array.from(bits).buffer);

/** The two neighbours in a format of which `values` are all the numbers, ascending from 0, and the even one where halfway. */
function nearest(x: number, values: readonly number[], overflow: number): number {
  if (x >= overflow) return values.length;
  let low = 0;
  let high = values.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (values[middle]! <= x) low = middle;
    else high = middle;
  }
  if (x >= values[high]!) return high;
  const [down, up] = [x - values[low]!, values[high]! - x];
  return down < up || (down === up && low % 2 === 0) ? low : high;
}

function checkRounding(
  narrow: (values: Float32Array) => Uint16Array,
  widen: (x: Uint16Array) => Float32Array,
  infinity: number,
) {
  const values = Array.from(widen(every.slice(0, infinity)));
  // The largest number plus half of the last step: there rounding goes to infinity.
  const overflow = values.at(-1)! + (values.at(-1)! - values.at(-2)!) / 2;
  const tries: number[] = [];
  // Around each number of the format, each middle between two, and their neighbours in f32.
  for (let i = 0; i < values.length; i += i < 2100 || i > infinity - 2100 ? 1 : 7) {
    for (const x of [values[i]!, i + 1 < values.length ? (values[i]! + values[i + 1]!) / 2 : overflow]) {
      const bits = bitsOf(Float32Array.of(x))[0]!;
      for (const near of [bits - 1, bits, bits + 1]) if (near >= 0 && near <= 0x7f800000) tries.push(near);
    }
  }
  const inputs = fromBits(tries);
  const got = narrow(inputs);
  const negative = narrow(inputs.map((x) => -x));
  inputs.forEach((x, i) => {
    const expected = nearest(x, values, overflow);
    assert.equal(got[i], expected, `${x}`);
    assert.equal(negative[i], expected | 0x8000, `-${x}`);
  });
}

it('f16 comes from f32 as the nearest, ties to even, through subnormals to infinity', () => {
  checkRounding(floatsToHalves, halvesToFloats, 0x7c00);
});

it('bf16 comes from f32 as the nearest, ties to even, through subnormals to infinity', () => {
  checkRounding(floatsToBfloats, bfloatsToFloats, 0x7f80);
});

it('every half and bfloat16 comes back the same through f32; NaN stays NaN with its sign', () => {
  for (const [there, back, infinity, quiet] of [
    [halvesToFloats, floatsToHalves, 0x7c00, 0x200],
    [bfloatsToFloats, floatsToBfloats, 0x7f80, 0x40],
  ] as const) {
    const wide = there(every);
    back(wide).forEach((half, i) => {
      const nan = (i & 0x7fff) > infinity;
      assert.equal(Number.isNaN(wide[i]), nan, `${i}`);
      assert.equal(half, nan ? i | quiet : i);
    });
  }
});

it('halves have the values of the standard', () => {
  const values = halvesToFloats(every);
  for (let i = 0; i < 65536; i += 1) assert.ok(Object.is(values[i], halfToFloat(i)), `${i}`);
  // binary16: precision 11 bits, emax 15 (IEEE 754-2008, table 3.5).
  assert.equal(halfToFloat(0x0001), 2 ** -24);
  assert.equal(halfToFloat(0x0400), 2 ** -14);
  assert.equal(halfToFloat(0x7bff), (2 - 2 ** -10) * 2 ** 15);
  assert.equal(halfToFloat(0xfc00), Number.NEGATIVE_INFINITY);
  assert.ok(Object.is(halfToFloat(0x8000), -0));
});
