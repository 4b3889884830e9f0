import { type ArrayInfo, arrayBytes } from './dtypes.js';
import { MAX_DIMENSIONS } from './limits.js';

/** What is wrong with a shape, or undefined: its lengths must be whole numbers from 0, not too many, and the array's bytes countable. */
export function checkShape(array: ArrayInfo): string | undefined {
  const { shape } = array;
  if (shape.length > MAX_DIMENSIONS) return `${shape.length} dimensions, at most ${MAX_DIMENSIONS} are read`;
  if (!shape.every((length) => Number.isSafeInteger(length) && length >= 0)) {
    return 'a length that is not a whole number from 0 to 2^53';
  }
  // Without the zeros: a product of huge lengths and one 0 would hide the huge ones.
  const others = { ...array, shape: shape.filter((length) => length > 0) };
  return Number.isSafeInteger(arrayBytes(others)) ? undefined : 'lengths whose product is beyond 2^53';
}
