import { LoamError, quote } from '../base/errors.js';
import { count } from '../base/format.js';
import { writeFileAtomic } from '../base/io.js';
import { arrayBytes, arrayPieces, checkShape, describeArray, type NamedArrayToWrite, type NdArray } from './arrays.js';
import { DataFile } from './dataFile.js';
import { decodeNpyHeader, encodeNpyHeader, MAX_NPY_PREFIX } from './npy.js';
import { readZipDirectory, unpackMember, type ZipMember } from './readZip.js';
import { StoredArray } from './storedArray.js';
import { ZipWriter } from './writeZip.js';

/** An open archive of numpy.savez or numpy.savez_compressed: a zip file of npy files. `await using file = await openNpz(path)`. */
export class NpzFile implements AsyncDisposable {
  /** Use `openNpz`. */
  constructor(
    /** By name without ".npy", in the archive's order. */
    readonly arrays: ReadonlyMap<string, StoredArray>,
    private readonly file: DataFile,
  ) {}

  private find(name: string): StoredArray {
    const array = this.arrays.get(name);
    if (array) return array;
    const names = [...this.arrays.keys()];
    throw new LoamError({
      code: 'not-found',
      found: `there is no array ${quote(name)}`,
      expected: names.length > 8 ? `one of its ${count(names.length)}` : `one of ${names.map(quote).join(', ')}`,
      where: this.file.path,
    });
  }

  /** A whole array. Throws LoamError for an unknown name and damaged data. */
  async read(name: string): Promise<NdArray> {
    return await this.find(name).read();
  }

  /** All of an array, `rows` entries of the first axis at a time; see `StoredArray`. */
  rows(name: string, rows: number): AsyncGenerator<NdArray, void, undefined> {
    return this.find(name).rows(rows);
  }

  /** `rows` entries of the first axis, from entry `from` on; see `StoredArray`. */
  async readRows(name: string, from: number, rows: number): Promise<NdArray> {
    return await this.find(name).readRows(from, rows);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.file[Symbol.asyncDispose]();
  }
}

/**
 * Opens an archive of numpy arrays: its directory and the header of each array are read and held against one another. What is unpacked is
 * bounded before it is unpacked.
 * @throws LoamError for a file that is not as it should be, UnsupportedError for members of other things than numbers
 */
export async function openNpz(path: string): Promise<NpzFile> {
  return await DataFile.open(path, async (file) => {
    const arrays = new Map<string, StoredArray>();
    for (const member of await readZipDirectory(file)) {
      arrays.set(member.name.slice(0, -'.npy'.length), await openMember(file, member));
    }
    return new NpzFile(arrays, file);
  });
}

async function openMember(file: DataFile, member: ZipMember): Promise<StoredArray> {
  const where = `${file.path}, member ${quote(member.name)}`;
  const bad = (found: string, expected: string) => new LoamError({ code: 'damaged', found, expected, where });
  if (!member.name.endsWith('.npy')) throw bad('a member that is no array', 'names that end in .npy');
  const header = decodeNpyHeader(await firstBytes(file, member), where);
  const expected = header.length + arrayBytes(header);
  if (expected !== member.size) {
    throw bad(`${count(member.size)} bytes`, `${count(expected)} for ${describeArray(header)} and its header`);
  }
  return new StoredArray(header, {
    // The checksum is compared at the end.
    async *all() {
      let skip = header.length;
      for await (const piece of unpackMember(file, member)) {
        const skipped = Math.min(skip, piece.length);
        skip -= skipped;
        if (skipped < piece.length) yield piece.subarray(skipped);
      }
    },
    part: member.deflated
      ? undefined
      : (from, bytes) =>
          file.bytes({ offset: member.offset + header.length + from, bytes }, `member ${quote(member.name)}`),
    where,
  });
}

async function firstBytes(file: DataFile, member: ZipMember): Promise<Uint8Array> {
  if (!member.deflated) {
    const bytes = Math.min(member.packed, MAX_NPY_PREFIX);
    return await file.bytes({ offset: member.offset, bytes }, `member ${quote(member.name)}`);
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
  { compress = false, zip64From }: NpzOptions = {},
): Promise<void> {
  await writeFileAtomic(path, async (file) => {
    const zip = new ZipWriter(file, { compress, zip64From });
    const names = new Set<string>();
    for await (const array of arrays) {
      const where = `${path}, array ${quote(array.name)}`;
      const shape = checkShape(array);
      const problem = names.has(array.name)
        ? 'the same name twice'
        : (nameProblem(array.name) ?? (shape && `a shape with ${shape}`));
      if (problem !== undefined) throw new LoamError({ code: 'invalid-data', found: problem, where });
      names.add(array.name);
      const header = encodeNpyHeader(array);
      async function* content() {
        yield header;
        yield* arrayPieces(array, where);
      }
      await zip.add(`${array.name}.npy`, header.length + arrayBytes(array), content());
    }
    await zip.end();
  });
}

/** Names that any tool unpacks to a place below the folder it unpacks into. */
function nameProblem(name: string): string | undefined {
  if (name === '' || name.length > 1000) return 'an empty or very long name';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused.
  if (/[\\\u0000-\u001f:]/.test(name)) return 'a name with a backslash, a colon or a control character';
  return name.split('/').some((part) => ['', '.', '..'].includes(part)) ? 'a name that is no plain path' : undefined;
}
