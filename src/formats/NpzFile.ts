import { LoamError } from '../util/errors.js';
import { count } from '../util/format.js';
import { openRegularFile } from '../util/openRegularFile.js';
import { quote } from '../util/quote.js';
import { ArrayFile, allocate } from './ArrayFile.js';
import { type ArrayInfo, arrayBytes, describeArray, type NdArray } from './dtypes.js';
import { joinRows } from './joinRows.js';
import { decodeNpyHeader, MAX_NPY_PREFIX, type NpyHeader } from './npyHeader.js';
import { rowRange } from './rowRange.js';
import { toCOrder } from './toCOrder.js';
import { unpackMember } from './unpackMember.js';
import { readZipDirectory, type ZipMember } from './zipDirectory.js';

export interface NpzArray extends ArrayInfo {
  /** Bytes of its elements. */
  readonly bytes: number;
}

interface Stored extends NpzArray {
  readonly header: NpyHeader;
  readonly member: ZipMember;
}

/** An open archive of numpy.savez or numpy.savez_compressed. `await using file = await openNpz(path)`. */
export class NpzFile implements AsyncDisposable {
  /** Use `openNpz`. */
  constructor(
    /** By name without ".npy", in the archive's order. */
    readonly arrays: ReadonlyMap<string, NpzArray>,
    private readonly file: ArrayFile,
  ) {}

  private find(name: string): Stored {
    const array = this.arrays.get(name);
    if (array) return array as Stored;
    const names = [...this.arrays.keys()];
    throw new LoamError({
      found: `there is no array ${quote(name)}`,
      expected: names.length > 8 ? `one of its ${count(names.length)}` : `one of ${names.map(quote).join(', ')}`,
      where: this.file.path,
    });
  }

  /** The elements as they lie in the member, without its header; the checksum is compared at the end. */
  private async *elements({ header, member }: Stored): AsyncGenerator<Uint8Array, void, undefined> {
    let skip = header.length;
    for await (const piece of unpackMember(this.file, member)) {
      const skipped = Math.min(skip, piece.length);
      skip -= skipped;
      if (skipped < piece.length) yield skipped === 0 ? piece : piece.subarray(skipped);
    }
  }

  /** A whole array, in C order and little endian however it is stored. Throws LoamError for an unknown name and damaged data. */
  async read(name: string): Promise<NdArray> {
    const array = this.find(name);
    const data = allocate(array.bytes, `${this.file.path}, array ${quote(name)}`);
    let at = 0;
    for await (const piece of this.elements(array)) {
      data.set(piece, at);
      at += piece.length;
    }
    return toCOrder(array.header, data);
  }

  /** All of an array, `rows` entries of the first axis at a time. Only an array in Fortran's order is held in memory as a whole. */
  async *rows(name: string, rows: number): AsyncGenerator<NdArray, void, undefined> {
    const array = this.find(name);
    const { header } = array;
    if (header.fortran && header.shape.length > 1) {
      yield* joinRows(array, rows, onePiece((await this.read(name)).data));
      return;
    }
    for await (const piece of joinRows(array, rows, this.elements(array))) {
      yield toCOrder({ ...header, shape: piece.shape }, piece.data);
    }
  }

  /**
   * `rows` entries of the first axis, from entry `from` on: read directly where the member is stored (without a check of its sum), by
   * unpacking what comes before where it is deflated.
   */
  async readRows(name: string, from: number, rows: number): Promise<NdArray> {
    const array = this.find(name);
    const { header, member } = array;
    const range = rowRange(array, from, rows);
    if (header.fortran && header.shape.length > 1) {
      const { data } = await this.read(name);
      return { dtype: array.dtype, shape: range.shape, data: data.slice(range.from, range.from + range.bytes) };
    }
    let data: Uint8Array;
    if (!member.deflated) {
      data = await this.file.read(member.offset + header.length + range.from, range.bytes, `array ${quote(name)}`);
    } else {
      data = allocate(range.bytes, `${this.file.path}, array ${quote(name)}`);
      let at = 0;
      for await (const piece of this.elements(array)) {
        const begin = Math.max(0, range.from - at);
        const end = Math.min(piece.length, range.from + range.bytes - at);
        if (begin < end) data.set(piece.subarray(begin, end), at + begin - range.from);
        at += piece.length;
        if (at >= range.from + range.bytes) break;
      }
    }
    return toCOrder({ ...header, shape: range.shape }, data);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.file[Symbol.asyncDispose]();
  }
}

async function* onePiece(data: Uint8Array) {
  yield data;
}

/**
 * Opens an archive of numpy arrays: its directory and the header of each array are read and held against one another. What is unpacked is
 * bounded before it is unpacked.
 * @throws LoamError for a file that is not as it should be, UnsupportedError for members of other things than numbers
 */
export async function openNpz(path: string): Promise<NpzFile> {
  const { file, size } = await openRegularFile(path);
  const source = new ArrayFile(path, size, file);
  try {
    const arrays = new Map<string, Stored>();
    for (const member of await readZipDirectory(file, size, path)) {
      const where = `${path}, member ${quote(member.name)}`;
      if (!member.name.endsWith('.npy')) {
        throw new LoamError({ found: 'a member that is no array', expected: 'names that end in .npy', where });
      }
      const header = decodeNpyHeader(await firstBytes(source, member), where);
      const bytes = arrayBytes(header);
      if (header.length + bytes !== member.size) {
        throw new LoamError({
          found: `${count(member.size)} bytes`,
          expected: `${count(header.length + bytes)} for ${describeArray(header)} and its header`,
          where,
        });
      }
      const { dtype, shape } = header;
      arrays.set(member.name.slice(0, -4), { dtype, shape, bytes, header, member });
    }
    return new NpzFile(arrays, source);
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function firstBytes(file: ArrayFile, member: ZipMember): Promise<Uint8Array> {
  if (!member.deflated) {
    return await file.read(member.offset, Math.min(member.packed, MAX_NPY_PREFIX), `member ${quote(member.name)}`);
  }
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of unpackMember(file, member)) {
    pieces.push(piece);
    length += piece.length;
    if (length >= MAX_NPY_PREFIX) break;
  }
  return Buffer.concat(pieces);
}
