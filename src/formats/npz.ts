import type { FileHandle } from 'node:fs/promises';
import { pipeline, Readable } from 'node:stream';
import { constants, createDeflateRaw, createInflateRaw } from 'node:zlib';
import { crc32 } from '../base/crc32.js';
import { LoamError, quote } from '../base/errors.js';
import { count } from '../base/format.js';
import { openRegularFile, writeAll, writeFileAtomic } from '../base/io.js';
import { ArrayFile, allocate, arrayPieces, rowRange } from './arrayFile.js';
import {
  type ArrayInfo,
  arrayBytes,
  checkShape,
  describeArray,
  joinRows,
  type NamedArrayToWrite,
  type NdArray,
  PIECE_BYTES,
  toCOrder,
} from './arrays.js';
import { decodeNpyHeader, encodeNpyHeader, MAX_NPY_PREFIX, type NpyHeader } from './npy.js';
import { type DirectoryEntry, encodeDirectory, encodeLocalHeader, readZipDirectory, type ZipMember } from './zip.js';

/** Output of the unpacker a piece. */
const inflateChunk = 256 * 1024;

/**
 * The bytes of a member of a zip file, unpacked as they are asked for and never more than it states; the checksum is compared at the end.
 * @throws LoamError for data that are not as the directory says
 */
async function* unpackMember(file: ArrayFile, member: ZipMember): AsyncGenerator<Uint8Array, void, undefined> {
  const where = `${file.path}, member ${quote(member.name)}`;
  const bad = (found: string, cause?: unknown) =>
    new LoamError({ found, where, fix: 'the file is damaged: copy or write it again' }, { cause });
  const packed = file.stream(member.offset, member.packed, PIECE_BYTES, `member ${quote(member.name)}`);
  let length = 0;
  let sum = 0;
  for await (const piece of member.deflated ? inflate(packed, bad) : packed) {
    length += piece.length;
    if (length > member.size) throw bad('it unpacks to more than it states');
    sum = crc32(piece, sum);
    yield piece;
  }
  if (length < member.size) throw bad('it unpacks to less than it states');
  if (sum !== member.crc32) throw bad('its checksum (CRC-32) is another than stated');
}

async function* inflate(
  packed: AsyncIterable<Uint8Array>,
  bad: (found: string, cause?: unknown) => LoamError,
): AsyncGenerator<Uint8Array, void, undefined> {
  const source = Readable.from(packed, { objectMode: true });
  const inflater = createInflateRaw({ chunkSize: inflateChunk });
  // An error reaches the reader of the last stream; the callback only keeps it from being thrown as well.
  pipeline(source, inflater, () => {});
  try {
    for await (const piece of inflater as AsyncIterable<Buffer>) yield piece;
  } catch (error) {
    throw error instanceof LoamError ? error : bad('its packed data are damaged', error);
  } finally {
    inflater.destroy();
    source.destroy();
  }
}

interface NpzArray extends ArrayInfo {
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

interface NpzOptions {
  /** Deflates the members: smaller, slower, and no longer readable at a place in the middle. Default false. */
  compress?: boolean;
  /** Size or place, in bytes, from which 64-bit records are used; for tests. */
  zip64From?: number;
}

/**
 * Writes arrays for numpy.load, as numpy.savez and numpy.savez_compressed do. Data are written as they are produced; the same arrays give
 * the same bytes at any time. The file appears only when complete.
 * @throws LoamError for names that stand twice or cannot be, and data of another length than stated
 */
export async function writeNpz(
  path: string,
  arrays: Iterable<NamedArrayToWrite> | AsyncIterable<NamedArrayToWrite>,
  options: NpzOptions = {},
): Promise<void> {
  const { compress = false, zip64From = 0xf0000000 } = options;
  await writeFileAtomic(path, async (file) => {
    const entries: DirectoryEntry[] = [];
    const names = new Set<string>();
    let at = 0;
    for await (const array of arrays) {
      const where = `${path}, array ${quote(array.name)}`;
      const problem = names.has(array.name) ? 'the same name twice' : nameProblem(array.name);
      if (problem !== undefined) throw new LoamError({ found: problem, where });
      names.add(array.name);
      const shape = checkShape(array);
      if (shape !== undefined) throw new LoamError({ found: `a shape with ${shape}`, where });
      const entry = await writeMember(file, at, array, { compress, zip64From, where });
      entries.push(entry);
      at = entry.end;
    }
    await writeAll(file, encodeDirectory(entries, at, zip64From));
  });
}

/** Names that any tool unpacks to a place below the folder it unpacks into. */
function nameProblem(name: string): string | undefined {
  if (name === '' || name.length > 1000) return 'an empty or very long name';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused.
  if (/[\\\u0000-\u001f:]/.test(name)) return 'a name with a backslash, a colon or a control character';
  return name.split('/').some((part) => ['', '.', '..'].includes(part)) ? 'a name that is no plain path' : undefined;
}

async function writeMember(
  file: FileHandle,
  offset: number,
  array: NamedArrayToWrite,
  { compress, zip64From, where }: { compress: boolean; zip64From: number; where: string },
): Promise<DirectoryEntry> {
  const entry: DirectoryEntry = {
    name: `${array.name}.npy`,
    deflated: compress,
    offset,
    end: offset,
    packed: 0,
    size: 0,
    crc32: 0,
    zip64: false,
  };
  async function* plain() {
    yield encodeNpyHeader(array) as Uint8Array;
    yield* arrayPieces(array, where);
  }
  async function* counted() {
    for await (const piece of plain()) {
      entry.size += piece.length;
      entry.crc32 = crc32(piece, entry.crc32);
      yield piece;
    }
  }
  // Sizes and checksum are known at the end; the header's length, 64-bit sizes or not, is settled now from what type and shape say.
  const expected = encodeNpyHeader(array).length + arrayBytes(array);
  entry.zip64 = expected >= zip64From;
  const header = encodeLocalHeader(entry);
  await writeAll(file, header);
  for await (const piece of compress ? deflate(counted()) : counted()) {
    await writeAll(file, piece);
    entry.packed += piece.length;
  }
  entry.end = offset + header.length + entry.packed;
  await file.write(encodeLocalHeader(entry), 0, header.length, offset);
  return entry;
}

async function* deflate(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  const packer = createDeflateRaw({ level: constants.Z_DEFAULT_COMPRESSION });
  pipeline(Readable.from(source, { objectMode: true }), packer, () => {});
  try {
    for await (const piece of packer as AsyncIterable<Buffer>) yield piece;
  } finally {
    packer.destroy();
  }
}
