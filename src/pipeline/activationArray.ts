import type { NamedArrayToWrite } from '../formats/dtypes.js';
import { fromFloat32 } from '../formats/fromFloat32.js';
import type { Residuals } from '../ridge/target.js';
import { LoamError } from '../util/errors.js';
import { quote } from '../util/quote.js';

/**
 * An array [rows, width] to be written batch after batch, none of which but one is held in memory for it.
 * @param rows of each batch
 * @throws LoamError, while it is written, for values that the element type does not hold
 */
export function activationArray(
  name: string,
  source: Residuals,
  rows: readonly number[],
  width: number,
  dtype: 'f32' | 'f16',
): NamedArrayToWrite {
  async function* pieces() {
    for (const [batch, n] of rows.entries()) {
      const values = await source.read(batch);
      check(values, name, dtype);
      yield fromFloat32(values, [n, width], dtype).data;
    }
  }
  return { name, dtype, shape: [rows.reduce((sum, n) => sum + n, 0), width], data: pieces };
}

/** The largest value of f16 is 65,504; from half a step beyond it on, values are rounded to infinity. */
const halfOverflow = 65520;

function check(values: Float32Array, name: string, dtype: 'f32' | 'f16'): void {
  for (const value of values) {
    if (!Number.isFinite(value)) {
      throw new LoamError({
        found: `${quote(name)} would hold values that are not finite`,
        fix: 'use another model file',
      });
    }
    if (dtype === 'f16' && Math.abs(value) >= halfOverflow) {
      throw new LoamError({
        found: `${quote(name)} would hold a value of ${value.toPrecision(3)}`,
        expected: 'at most 65,504, the largest that f16 holds',
        fix: 'leave out --f16',
      });
    }
  }
}
