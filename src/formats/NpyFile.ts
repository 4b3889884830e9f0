import { LoamError } from '../util/errors.js';
import { count } from '../util/format.js';
import { openRegularFile } from '../util/openRegularFile.js';
import { readFully } from '../util/readFully.js';
import { ArrayFile } from './ArrayFile.js';
import { type ArrayInfo, arrayBytes, type Dtype, describeArray, type NdArray } from './dtypes.js';
import { PIECE_BYTES } from './limits.js';
import { decodeNpyHeader, MAX_NPY_PREFIX, type NpyHeader } from './npyHeader.js';
import { rowRange } from './rowRange.js';
import { toCOrder } from './toCOrder.js';

/** An open npy file. `await using file = await openNpy(path)`. */
export class NpyFile implements ArrayInfo, AsyncDisposable {
  readonly dtype: Dtype;
  readonly shape: readonly number[];

  /** Use `openNpy`. */
  constructor(
    private readonly header: NpyHeader,
    private readonly file: ArrayFile,
  ) {
    this.dtype = header.dtype;
    this.shape = header.shape;
  }

  /** The whole array, in C order and little endian however it is stored. */
  async read(): Promise<NdArray> {
    return toCOrder(this.header, await this.file.read(this.header.length, arrayBytes(this.header), 'its array'));
  }

  /** `rows` entries of the first axis, from entry `from` on. Where the array lies in Fortran's order all of it is read for them. */
  async readRows(from: number, rows: number): Promise<NdArray> {
    const range = rowRange(this.header, from, rows);
    if (this.header.fortran && this.shape.length > 1) {
      const { data } = await this.read();
      return { dtype: this.dtype, shape: range.shape, data: data.slice(range.from, range.from + range.bytes) };
    }
    const data = await this.file.read(this.header.length + range.from, range.bytes, 'its array');
    return toCOrder({ ...this.header, shape: range.shape }, data);
  }

  /** All of it, `rows` entries of the first axis at a time (the last time perhaps fewer). */
  async *rows(rows: number): AsyncGenerator<NdArray, void, undefined> {
    if (!Number.isSafeInteger(rows) || rows < 1) throw new RangeError(`pieces of ${rows} rows`);
    const total = rowRange(this.header, 0, 0).total;
    for (let from = 0; from < total; from += rows) yield await this.readRows(from, Math.min(rows, total - from));
  }

  /** The bytes of the array as they lie in the file, in pieces. */
  stream(pieceBytes = PIECE_BYTES): AsyncGenerator<Uint8Array, void> {
    return this.file.stream(this.header.length, arrayBytes(this.header), pieceBytes, 'its array');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.file[Symbol.asyncDispose]();
  }
}

/**
 * Opens a npy file: its header is read and held against the length of the file.
 * @throws LoamError for a file that is not as it should be, UnsupportedError for arrays of other things than numbers
 */
export async function openNpy(path: string): Promise<NpyFile> {
  const { file, size } = await openRegularFile(path);
  try {
    const start = new Uint8Array(Math.min(size, MAX_NPY_PREFIX));
    const got = await readFully(file, start, 0);
    const header = decodeNpyHeader(start.subarray(0, got), path);
    const expected = header.length + arrayBytes(header);
    if (size !== expected) {
      throw new LoamError({
        found: `the file has ${count(size)} bytes`,
        expected: `${count(expected)} for ${describeArray(header)} and its header`,
        where: path,
        fix: size < expected ? 'it is truncated: copy or write it again' : undefined,
      });
    }
    return new NpyFile(header, new ArrayFile(path, size, file));
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** The array of a npy file. Throws as `openNpy`. */
export async function readNpy(path: string): Promise<NdArray> {
  await using file = await openNpy(path);
  return await file.read();
}
