import { LoamError } from '../util/errors.js';
import { count } from '../util/format.js';
import { MAX_ALIGNMENT, MIN_ALIGNMENT } from './limits.js';

/** Returns the alignment in bytes if it is a power of two within the limits; throws LoamError naming `where` otherwise. */
export function checkAlignment(bytes: number, where: string): number {
  // The bounds come first: & works on 32-bit integers only.
  if (bytes >= MIN_ALIGNMENT && bytes <= MAX_ALIGNMENT && (bytes & (bytes - 1)) === 0) return bytes;
  const expected = `a power of two from ${MIN_ALIGNMENT} to ${count(MAX_ALIGNMENT)}`;
  throw new LoamError({ found: `an alignment of ${count(bytes)} bytes`, expected, where });
}
