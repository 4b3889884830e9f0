import type { FileHandle } from 'node:fs/promises';
import { LoamError } from '../base/errors.js';
import { bytes as asBytes, count } from '../base/format.js';
import { explainReadError, readFully } from '../base/io.js';
import { type ArrayInfo, type ArrayToWrite, arrayBytes, describeArray } from './arrays.js';

/** An open file with arrays in it: reads ranges and says so where the file has shrunk since it was checked. */
export class ArrayFile implements AsyncDisposable {
  private closed = false;

  constructor(
    readonly path: string,
    readonly size: number,
    private readonly file: FileHandle,
  ) {}

  /** `bytes` from `position` on, in fresh memory. `what` names them in errors. */
  async read(position: number, bytes: number, what: string): Promise<Uint8Array> {
    const target = allocate(bytes, `${this.path}, ${what}`);
    try {
      const done = await readFully(this.file, target, position);
      if (done === bytes) return target;
    } catch (error) {
      throw explainReadError(error, this.path);
    }
    throw new LoamError({
      found: `the file ends inside ${what}`,
      expected: `the ${count(this.size)} bytes it had when it was opened`,
      where: this.path,
      fix: 'something has changed it meanwhile: run again',
    });
  }

  /** The same in pieces. */
  async *stream(position: number, bytes: number, pieceBytes: number, what: string): AsyncGenerator<Uint8Array, void> {
    if (!Number.isSafeInteger(pieceBytes) || pieceBytes < 1) throw new RangeError(`pieces of ${pieceBytes} bytes`);
    for (let done = 0; done < bytes; done += pieceBytes) {
      yield await this.read(position + done, Math.min(pieceBytes, bytes - done), what);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.file.close();
  }
}

/** Memory for a whole array; a sentence where there is not as much. */
export function allocate(bytes: number, where: string): Uint8Array {
  try {
    return new Uint8Array(bytes);
  } catch (cause) {
    throw new LoamError({ found: `there is no memory for its ${asBytes(bytes)} at once`, where }, { cause });
  }
}

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
