import type { FileHandle } from 'node:fs/promises';
import { LoamError, quote } from '../base/errors.js';
import { bytes as asBytes, count } from '../base/format.js';
import { explainReadError, openRegularFile, type Positioned, readFully } from '../base/io.js';

/** Files that were checked when they were opened, and the named tensors in them, which are read one by one. */

/** Bytes per piece of streamed data, unless told otherwise: large enough for the disk, small beside a phone's memory. */
export const PIECE_BYTES = 4 * 1024 * 1024;

/** Part of a file: bytes from its beginning, and how many. */
export interface Extent {
  readonly offset: number;
  readonly bytes: number;
}

/** An open file: reads ranges of it and says so if it has shrunk since it was checked. */
export class DataFile implements Positioned, AsyncDisposable {
  private constructor(
    readonly path: string,
    readonly size: number,
    private readonly file: FileHandle,
  ) {}

  /** Opens a regular file and makes of it what then owns it; if that fails the file is closed. Throws LoamError. */
  static async open<T>(path: string, make: (file: DataFile) => Promise<T>): Promise<T> {
    const { file, size } = await openRegularFile(path);
    try {
      return await make(new DataFile(path, size, file));
    } catch (error) {
      await file.close();
      throw explainReadError(error, path);
    }
  }

  /** For libraries that read by descriptor. */
  get fd(): number {
    return this.file.fd;
  }

  /** Like a file handle's: may read fewer bytes than `length`. */
  async read(target: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }> {
    return await this.file.read(target, offset, length, position);
  }

  /** Fills `target` from `position` on. `what` names it in errors. */
  async fill(target: Uint8Array, position: number, what: string): Promise<Uint8Array> {
    try {
      if ((await readFully(this.file, target, position)) === target.length) return target;
    } catch (error) {
      throw explainReadError(error, this.path);
    }
    throw new LoamError({
      code: 'conflict',
      found: `the file ends inside ${what}`,
      expected: `the ${count(this.size)} bytes it had when it was opened`,
      where: this.path,
      fix: 'another program has changed it: run again',
    });
  }

  /** The bytes of an extent, in fresh memory. */
  async bytes({ offset, bytes }: Extent, what: string): Promise<Uint8Array> {
    return await this.fill(allocate(bytes, `${this.path}, ${what}`), offset, what);
  }

  /** The same in pieces (the last may be shorter), each in fresh memory. */
  async *stream(extent: Extent, what: string, pieceBytes = PIECE_BYTES): AsyncGenerator<Uint8Array, void> {
    if (!Number.isSafeInteger(pieceBytes) || pieceBytes < 1) throw new RangeError(`pieces of ${pieceBytes} bytes`);
    for (let from = 0; from < extent.bytes; from += pieceBytes) {
      const bytes = Math.min(pieceBytes, extent.bytes - from);
      yield await this.bytes({ offset: extent.offset + from, bytes }, what);
    }
  }

  /** Closes the file; may be done twice. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.file.close();
  }
}

/** Memory for a whole array. Throws LoamError if there is not as much. */
export function allocate(bytes: number, where: string): Uint8Array {
  try {
    return new Uint8Array(bytes);
  } catch (cause) {
    const found = `there is no memory for its ${asBytes(bytes)} at once`;
    throw new LoamError({ code: 'out-of-memory', found, where }, { cause });
  }
}

/** The tensor of this name. Throws LoamError if the file has none. */
export function findTensor<T>(tensors: ReadonlyMap<string, T>, name: string, path: string): T {
  const tensor = tensors.get(name);
  if (tensor !== undefined) return tensor;
  const found = `there is no tensor ${quote(name)} among its ${count(tensors.size)}`;
  throw new LoamError({ code: 'not-found', found, where: path });
}

/** An open file of named tensors, several of which may be read at a time. Unknown names and a file that has shrunk are LoamErrors. */
export class TensorFile<T extends Extent> implements AsyncDisposable {
  readonly path: string;

  constructor(
    private readonly file: DataFile,
    readonly tensors: ReadonlyMap<string, T>,
  ) {
    this.path = file.path;
  }

  /**
   * The bytes of a tensor as stored. With `into` (at least as long) they are put there, which may be memory of the native side, and the
   * filled part of it is returned.
   */
  async readBytes(name: string, into?: Uint8Array): Promise<Uint8Array> {
    const extent = findTensor(this.tensors, name, this.path);
    const what = `tensor ${quote(name)}`;
    if (into === undefined) return await this.file.bytes(extent, what);
    if (into.length < extent.bytes) throw new RangeError(`${into.length} bytes of room for ${what} of ${extent.bytes}`);
    return await this.file.fill(into.subarray(0, extent.bytes), extent.offset, what);
  }

  /** `bytes` of a tensor from byte `from` on, such as some of its rows. RangeError for a range outside it. */
  async readPart(name: string, from: number, bytes: number): Promise<Uint8Array> {
    const tensor = findTensor(this.tensors, name, this.path);
    const whole = Number.isSafeInteger(from) && Number.isSafeInteger(bytes) && from >= 0 && bytes >= 0;
    if (!whole || from + bytes > tensor.bytes) {
      throw new RangeError(`${bytes} bytes from ${from} are not within tensor ${quote(name)} of ${tensor.bytes}`);
    }
    return await this.file.bytes({ offset: tensor.offset + from, bytes }, `tensor ${quote(name)}`);
  }

  /** The bytes of a tensor in pieces (the last may be shorter), each in fresh memory. */
  stream(name: string, pieceBytes?: number): AsyncGenerator<Uint8Array, void> {
    return this.file.stream(findTensor(this.tensors, name, this.path), `tensor ${quote(name)}`, pieceBytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.file[Symbol.asyncDispose]();
  }
}

/** Bytes of a tensor, at hand or produced when their turn comes, whole or in pieces of any size. */
export type TensorData = Uint8Array | (() => Uint8Array | Promise<Uint8Array> | AsyncIterable<Uint8Array>);

/**
 * The bytes of a tensor to be written, piece by piece, as many as its type and shape say.
 * @param what it is by type and shape, for errors: "f32 [2, 3]"
 * @throws LoamError if there are more or fewer
 */
export async function* exactly(
  data: TensorData,
  size: number,
  what: string,
  where: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  const produced = data instanceof Uint8Array ? data : await data();
  let done = 0;
  for await (const piece of produced instanceof Uint8Array ? [produced] : produced) {
    done += piece.length;
    // Before it is written: a generator without end would fill the disk.
    if (done > size) throw wrongLength(`at least ${count(done)} bytes`, size, what, where);
    if (piece.length > 0) yield piece;
  }
  if (done < size) throw wrongLength(`only ${count(done)} bytes`, size, what, where);
}

/** The error for data of another length than type and shape say. */
export function wrongLength(found: string, size: number, what: string, where: string): LoamError {
  return new LoamError({
    code: 'invalid-data',
    found: `${found} of data`,
    expected: `${count(size)} for ${what}`,
    where,
  });
}
