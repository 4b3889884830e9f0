import { type ArrayInfo, arrayBytes, dtypes, elementCount, type NdArray } from './arrays.js';
import { allocate } from './dataFile.js';

/** What a file says of an array. */
export interface StoredInfo extends ArrayInfo {
  /** The first index runs fastest, as Fortran and R lay arrays out. */
  readonly fortran: boolean;
  /** Elements are big endian. */
  readonly bigEndian: boolean;
}

/** Reads the elements of an array from its file. */
interface StoredElements {
  /** All of them, in pieces, checked if the file has a checksum. */
  all(): AsyncIterable<Uint8Array>;
  /** `bytes` of them from byte `from` on; absent if they are packed. */
  part?(from: number, bytes: number): Promise<Uint8Array>;
  /** Names the array in errors. */
  readonly where: string;
}

/** An array in a file: read whole, or some rows (entries of the first axis) of it. What comes out is in C order and little endian. */
export class StoredArray implements ArrayInfo {
  readonly dtype;
  readonly shape;
  /** Bytes of its elements. */
  readonly bytes: number;

  constructor(
    private readonly info: StoredInfo,
    private readonly elements: StoredElements,
  ) {
    this.dtype = info.dtype;
    this.shape = info.shape;
    this.bytes = arrayBytes(info);
  }

  /** All of it. */
  async read(): Promise<NdArray> {
    return toCOrder(this.info, await this.collect(0, this.bytes));
  }

  /**
   * `rows` rows from `from` on: read directly (without a check of the checksum) if the array is not packed, else by unpacking what comes
   * before. An array in Fortran's order is read as a whole for them. RangeError for a scalar, and rows that it does not have.
   */
  async readRows(from: number, rows: number): Promise<NdArray> {
    const total = this.shape[0];
    if (total === undefined) throw new RangeError('a scalar has no rows');
    const whole = Number.isSafeInteger(from) && Number.isSafeInteger(rows) && from >= 0 && rows >= 0;
    if (!whole || from + rows > total) throw new RangeError(`${rows} rows from ${from} are not within ${total}`);
    const shape = [rows, ...this.shape.slice(1)];
    const rowBytes = this.rowBytes();
    const [at, bytes] = [from * rowBytes, rows * rowBytes];
    if (this.isFortran) return { dtype: this.dtype, shape, data: (await this.read()).data.slice(at, at + bytes) };
    const data = (await this.elements.part?.(at, bytes)) ?? (await this.collect(at, bytes));
    return toCOrder({ ...this.info, shape }, data);
  }

  /** All of it, `rows` rows at a time (the last time perhaps fewer). Only an array in Fortran's order is held in memory as a whole. */
  async *rows(rows: number): AsyncGenerator<NdArray, void, undefined> {
    if (this.shape.length === 0) throw new RangeError('a scalar has no rows');
    if (!Number.isSafeInteger(rows) || rows < 1) throw new RangeError(`pieces of ${rows} rows`);
    const whole = this.isFortran ? await this.read() : undefined;
    const info = whole ? { ...this.info, fortran: false, bigEndian: false } : this.info;
    for await (const piece of joinRows(info, rows, whole ? [whole.data] : this.elements.all())) {
      yield toCOrder({ ...info, shape: piece.shape }, piece.data);
    }
  }

  private get isFortran(): boolean {
    return this.info.fortran && this.shape.length > 1;
  }

  private rowBytes(): number {
    return arrayBytes({ dtype: this.dtype, shape: this.shape.slice(1) });
  }

  /** Bytes `from` to `from + bytes` of all. */
  private async collect(from: number, bytes: number): Promise<Uint8Array> {
    const data = allocate(bytes, this.elements.where);
    let at = 0;
    for await (const piece of this.elements.all()) {
      const begin = Math.max(0, from - at);
      const end = Math.min(piece.length, from + bytes - at);
      if (begin < end) data.set(piece.subarray(begin, end), at + begin - from);
      at += piece.length;
      if (at >= from + bytes && bytes < this.bytes) break;
    }
    return data;
  }
}

/** Elements as they are stored, as little endian and in C order; `data` may be overwritten. */
function toCOrder({ dtype, shape, fortran, bigEndian }: StoredInfo, data: Uint8Array): NdArray {
  const { bytes } = dtypes[dtype];
  if (bigEndian && bytes > 1) {
    const view = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    if (bytes === 2) view.swap16();
    else if (bytes === 4) view.swap32();
    else view.swap64();
  }
  if (!fortran || shape.length < 2) return { dtype, shape, data };
  const out = new Uint8Array(arrayBytes({ dtype, shape }));
  const strides = shape.map((_, axis) => elementCount(shape.slice(0, axis)));
  const index = shape.map(() => 0);
  let from = 0;
  const total = elementCount(shape);
  for (let to = 0; to < total; to++) {
    for (let k = 0; k < bytes; k++) out[to * bytes + k] = data[from * bytes + k]!;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis]!++;
      from += strides[axis]!;
      if (index[axis]! < shape[axis]!) break;
      from -= strides[axis]! * shape[axis]!;
      index[axis] = 0;
    }
  }
  return { dtype, shape, data: out };
}

/** Cuts the bytes of an array into arrays of `rows` rows (the last may have fewer), each in fresh memory. */
async function* joinRows(
  { dtype, shape }: ArrayInfo,
  rows: number,
  bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<NdArray, void, undefined> {
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
