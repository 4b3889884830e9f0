import { LoamError } from '../util/errors.js';
import { count } from '../util/format.js';
import { type ArrayToWrite, arrayBytes, describeArray } from './dtypes.js';

/**
 * The bytes of an array to be written, piece by piece, as many as its type and shape say.
 * @throws LoamError where there are more or fewer
 */
export async function* arrayPieces(array: ArrayToWrite, where: string): AsyncGenerator<Uint8Array, void, undefined> {
  const size = arrayBytes(array);
  const wrong = (found: string) =>
    new LoamError({ found: `${found} of data`, expected: `${count(size)} for ${describeArray(array)}`, where });
  const produced = array.data instanceof Uint8Array ? array.data : await array.data();
  const pieces = produced instanceof Uint8Array ? [produced] : produced;
  let done = 0;
  for await (const piece of pieces) {
    done += piece.length;
    // Before it is written: a generator without end would fill the disk.
    if (done > size) throw wrong(`at least ${count(done)} bytes`);
    if (piece.length > 0) yield piece;
  }
  if (done < size) throw wrong(`only ${count(done)} bytes`);
}
