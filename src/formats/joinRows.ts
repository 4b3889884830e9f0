import { type ArrayInfo, arrayBytes, type NdArray } from './dtypes.js';

/**
 * Cuts a stream of an array's bytes into arrays of `rows` entries of the first axis (the last may have fewer), each in fresh memory.
 * @throws RangeError for a scalar, which has no rows
 */
export async function* joinRows(
  info: ArrayInfo,
  rows: number,
  bytes: AsyncIterable<Uint8Array>,
): AsyncGenerator<NdArray, void, undefined> {
  const { dtype, shape } = info;
  if (shape.length === 0) throw new RangeError('a scalar has no rows');
  if (!Number.isSafeInteger(rows) || rows < 1) throw new RangeError(`pieces of ${rows} rows`);
  const rest = shape.slice(1);
  const rowBytes = arrayBytes({ dtype, shape: rest });
  let left = shape[0]!;
  const next = () => new Uint8Array(Math.min(rows, left) * rowBytes);
  let piece = next();
  let filled = 0;
  for await (const chunk of bytes) {
    for (let at = 0; at < chunk.length && left > 0; ) {
      const length = Math.min(chunk.length - at, piece.length - filled);
      piece.set(chunk.subarray(at, at + length), filled);
      at += length;
      filled += length;
      if (filled < piece.length) continue;
      const taken = piece.length / rowBytes;
      left -= taken;
      yield { dtype, shape: [taken, ...rest], data: piece };
      piece = next();
      filled = 0;
    }
  }
}
