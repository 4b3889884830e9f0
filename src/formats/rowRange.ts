import { type ArrayInfo, arrayBytes } from './dtypes.js';

/**
 * Where entries of the first axis lie among an array's bytes.
 * @throws RangeError for a scalar, and entries that the array does not have
 */
export function rowRange(
  { dtype, shape }: ArrayInfo,
  from: number,
  rows: number,
): { from: number; bytes: number; shape: number[]; total: number } {
  const total = shape[0];
  if (total === undefined) throw new RangeError('a scalar has no rows');
  const whole = Number.isSafeInteger(from) && Number.isSafeInteger(rows) && from >= 0 && rows >= 0;
  if (!whole || from + rows > total) throw new RangeError(`${rows} rows from ${from} are not within ${total}`);
  const rowBytes = arrayBytes({ dtype, shape: shape.slice(1) });
  return { from: from * rowBytes, bytes: rows * rowBytes, shape: [rows, ...shape.slice(1)], total };
}
