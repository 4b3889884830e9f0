import { LoamError, quote, UnsupportedError } from '../base/errors.js';
import { count } from '../base/format.js';
import { writeAll, writeFileAtomic } from '../base/io.js';
import {
  type ArrayInfo,
  type ArrayToWrite,
  arrayBytes,
  arrayPieces,
  checkShape,
  type Dtype,
  describeArray,
  dtypeNames,
  dtypes,
  type NdArray,
} from './arrays.js';
import { DataFile } from './dataFile.js';
import { StoredArray, type StoredInfo } from './storedArray.js';

/** The npy format of numpy.save (numpy.lib.format). */

interface NpyHeader extends StoredInfo {
  /** Bytes before the data. */
  readonly length: number;
}

/** numpy.lib.format reads no longer header than this unless told to trust the file. */
const MAX_HEADER = 10_000;

/** The most bytes a header may take with what stands before it. */
export const MAX_NPY_PREFIX = 12 + MAX_HEADER;

const magic = Buffer.from('\x93NUMPY', 'latin1');
/** Header and what stands before it fill a multiple of this (numpy.lib.format, ARRAY_ALIGN). */
const alignment = 64;

/** The bytes that come before an array's data: version 1.0, C order, little endian. */
export function encodeNpyHeader({ dtype, shape }: ArrayInfo): Buffer {
  const { bytes, npy } = dtypes[dtype];
  const descr = `${bytes === 1 ? '|' : '<'}${npy}`;
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`;
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${tuple}, }`;
  const total = Math.ceil((10 + text.length + 1) / alignment) * alignment;
  const out = Buffer.alloc(total, ' ');
  magic.copy(out);
  out.writeUInt8(1, 6);
  out.writeUInt8(0, 7);
  out.writeUInt16LE(total - 10, 8);
  out.write(`${text}`, 10, 'latin1');
  out.write('\n', total - 1, 'latin1');
  return out;
}

/**
 * Reads the header of a npy file (numpy.lib.format, versions 1 to 3) from its first bytes, as many as there are up to MAX_NPY_PREFIX.
 * @throws LoamError for what is not one, UnsupportedError for arrays of other things than numbers: Python objects are pickles, and
 * reading those runs code
 */
export function decodeNpyHeader(start: Uint8Array, where: string): NpyHeader {
  const head = Buffer.from(start.buffer, start.byteOffset, start.byteLength);
  if (head.length < 10 || !head.subarray(0, 6).equals(magic)) {
    throw new LoamError({
      code: 'wrong-format',
      found: 'this is no npy file',
      expected: 'one written by numpy.save',
      where,
    });
  }
  const major = head.readUInt8(6);
  if (major < 1 || major > 3) {
    throw new UnsupportedError({ found: `version ${major} of npy`, expected: '1 to 3', where });
  }
  const from = major === 1 ? 10 : 12;
  const cut = () => new LoamError({ code: 'damaged', found: 'the file ends inside its header', where });
  if (head.length < from) throw cut();
  const length = major === 1 ? head.readUInt16LE(8) : head.readUInt32LE(8);
  if (length > MAX_HEADER) {
    const found = `a header of ${length} bytes`;
    throw new LoamError({ code: 'too-large', found, expected: `at most ${MAX_HEADER}`, where });
  }
  if (from + length > head.length) throw cut();
  const text = head.toString(major === 3 ? 'utf8' : 'latin1', from, from + length);
  const { descr, fortran, shape } = parseHeader(text, where);
  const { dtype, bigEndian } = dtypeOf(descr, where);
  const problem = checkShape({ dtype, shape });
  if (problem !== undefined) throw new LoamError({ code: 'damaged', found: `a shape with ${problem}`, where });
  return { dtype, shape, fortran, bigEndian, length: from + length };
}

function dtypeOf(descr: string, where: string): { dtype: Dtype; bigEndian: boolean } {
  const match = /^([<>|=]?)([a-zA-Z][0-9]*)$/.exec(descr);
  const dtype = dtypeNames.find((name) => dtypes[name].npy === match?.[2]);
  if (match && dtype) return { dtype, bigEndian: match[1] === '>' && dtype !== 'bf16' };
  const kind = match?.[2]?.[0];
  const found =
    kind === 'O'
      ? 'an array of Python objects (a pickle), which could run code when read'
      : kind === 'c'
        ? 'an array of complex numbers'
        : kind === 'U' || kind === 'S'
          ? 'an array of texts'
          : `an array of type ${quote(descr)}`;
  throw new UnsupportedError({
    found,
    expected: 'numbers or bools',
    where,
    fix: 'save it as numbers, for example with numpy.save(file, array.astype("float32"))',
  });
}

/**
 * One entry of the Python dict that a header is: key; a text, a bool, a tuple of whole numbers (behind which Python 2 wrote an L), or what
 * begins a structured type.
 */
const entry =
  /\s*['"](\w+)['"]\s*:\s*(?:'([^'\\]*)'|"([^"\\]*)"|(True|False)|\(((?:\s*\d+L?\s*,)*(?:\s*\d+L?)?)\s*\)|([[(]).*)\s*(?:,|$)/y;

/** Reads the one Python literal that a header is, a dict of a text, a bool and a tuple of whole numbers. Nothing is evaluated. */
function parseHeader(text: string, where: string): { descr: string; fortran: boolean; shape: number[] } {
  const fail = (found: string, expected?: string): never => {
    const fix = 'write the file again with numpy.save';
    throw new LoamError({ code: 'damaged', found, expected, where, fix });
  };
  const body = /^\{(.*)\}\s*$/s.exec(text)?.[1]?.trimEnd() ?? fail('a header that cannot be read', 'a dict');
  const found = new Map<string, RegExpExecArray>();
  for (let at = 0; at < body.length; at = entry.lastIndex) {
    entry.lastIndex = at;
    const match =
      entry.exec(body) ?? fail('a header that cannot be read', `a key with its value at character ${at + 2}`);
    const [, key = ''] = match;
    if (found.has(key)) fail(`the key ${quote(key)} twice`);
    found.set(key, match);
  }
  const unknown = [...found.keys()].find((key) => !['descr', 'fortran_order', 'shape'].includes(key));
  if (unknown !== undefined) fail(`the unknown key ${quote(unknown)}`);
  const [, , single, double, , , records] = found.get('descr') ?? [];
  if (records !== undefined) {
    throw new UnsupportedError({
      found: 'an array of records (a structured type)',
      expected: 'numbers or bools',
      where,
      fix: 'save its fields as arrays of their own',
    });
  }
  const [descr, fortran, shape] = [single ?? double, found.get('fortran_order')?.[4], found.get('shape')?.[5]];
  if (descr === undefined || fortran === undefined || shape === undefined) {
    return fail('a key is missing or has a value of another kind');
  }
  return { descr, fortran: fortran === 'True', shape: (shape.match(/\d+/g) ?? []).map(Number) };
}

/** An open npy file. `await using file = await openNpy(path)`. */
export class NpyFile extends StoredArray implements AsyncDisposable {
  /** Use `openNpy`. */
  constructor(
    header: NpyHeader,
    private readonly file: DataFile,
  ) {
    const extent = { offset: header.length, bytes: arrayBytes(header) };
    super(header, {
      all: () => file.stream(extent, 'its array'),
      part: (from, bytes) => file.bytes({ offset: extent.offset + from, bytes }, 'its array'),
      where: file.path,
    });
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
  return await DataFile.open(path, async (file) => {
    const start = await file.bytes({ offset: 0, bytes: Math.min(file.size, MAX_NPY_PREFIX) }, 'the header');
    const header = decodeNpyHeader(start, path);
    const expected = header.length + arrayBytes(header);
    if (file.size === expected) return new NpyFile(header, file);
    throw new LoamError({
      code: 'damaged',
      found: `the file has ${count(file.size)} bytes`,
      expected: `${count(expected)} for ${describeArray(header)} and its header`,
      where: path,
      fix: file.size < expected ? 'it is truncated: copy or write it again' : undefined,
    });
  });
}

/** The array of a npy file. Throws as `openNpy`. */
export async function readNpy(path: string): Promise<NdArray> {
  await using file = await openNpy(path);
  return await file.read();
}

/**
 * Writes an array for numpy.load: version 1.0, C order, little endian. bf16 has no name in numpy and becomes `<V2`, as with ml_dtypes:
 * `numpy.load(path).view(ml_dtypes.bfloat16)`. The file appears only when complete.
 * @throws LoamError if the data are not as long as type and shape say
 */
export async function writeNpy(path: string, array: ArrayToWrite): Promise<void> {
  const problem = checkShape(array);
  if (problem !== undefined)
    throw new LoamError({ code: 'invalid-data', found: `a shape with ${problem}`, where: path });
  await writeFileAtomic(path, async (file) => {
    await writeAll(file, encodeNpyHeader(array));
    for await (const piece of arrayPieces(array, path)) await writeAll(file, piece);
  });
}
