import { LoamError, quote, UnsupportedError } from '../base/errors.js';
import { count } from '../base/format.js';
import { writeAll, writeFileAtomic } from '../base/io.js';
import { type JsonValue, parseJson } from '../base/json.js';
import { isList, isObject } from '../base/jsonAccess.js';
import {
  type ArrayInfo,
  arrayBytes,
  arrayPieces,
  checkShape,
  describeArray,
  dtypeNames,
  dtypes,
  type NamedArrayToWrite,
  type NdArray,
} from './arrays.js';
import { DataFile, type Extent, TensorFile } from './dataFile.js';

/** The safetensors format (https://github.com/huggingface/safetensors#format): the length of a JSON header, the header, the data. */

/** The safetensors library itself reads no longer header (MAX_HEADER_SIZE of tensor.rs). */
const MAX_HEADER = 100_000_000;

interface SafetensorsEntry extends ArrayInfo, Extent {
  readonly name: string;
}

interface SafetensorsHeader {
  readonly metadata: ReadonlyMap<string, string>;
  /** In the order of their data. */
  readonly tensors: readonly SafetensorsEntry[];
}

/**
 * Reads the JSON header of a safetensors file of `size` bytes: tensors must fill what follows it without holes and without overlaps, as the
 * format asks (safetensors/src/tensor.rs, Metadata::validate).
 * @throws LoamError; UnsupportedError for element types that Loam does not know
 */
function readHeader(bytes: Uint8Array, size: number, path: string): SafetensorsHeader {
  const bad = (found: string, expected?: string, fix?: string) =>
    new LoamError({ code: 'damaged', found, expected, where: path, fix });
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw bad('a header that is not UTF-8', 'a safetensors file');
  }
  if (text[0] !== '{') throw bad('a header that is no object', 'it to begin with {');
  const header = parseJson(text, `${path}, header`);
  if (!isObject(header)) throw bad('a header that is no object');
  let metadata: ReadonlyMap<string, string> = new Map();
  const tensors: SafetensorsEntry[] = [];
  for (const [name, value] of header) {
    if (name !== '__metadata__') tensors.push(readEntry(name, value, path));
    else if (isTexts(value)) metadata = value;
    else throw bad('__metadata__ of another kind', 'an object of texts');
  }
  // Empty tensors first if they share a place with others.
  tensors.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let end = 0;
  for (const { name, offset, bytes } of tensors) {
    if (offset !== end) {
      const place = offset < end ? 'within another' : 'after a hole';
      throw bad(
        `tensor ${quote(name)} begins at ${count(offset)}, ${place}`,
        `${count(end)}, where the one before it ends`,
      );
    }
    end += bytes;
  }
  const dataStart = 8 + bytes.length;
  const dataBytes = size - dataStart;
  if (end !== dataBytes) {
    const fix = dataBytes < end ? 'it is truncated: download or copy it again' : undefined;
    throw bad(`${count(dataBytes)} bytes of data`, `${count(end)}, as the header says`, fix);
  }
  return { metadata, tensors: tensors.map((tensor) => ({ ...tensor, offset: dataStart + tensor.offset })) };
}

const isTexts = (value: JsonValue): value is ReadonlyMap<string, string> =>
  isObject(value) && [...value.values()].every((text) => typeof text === 'string');

/** One entry of the header; its offset counts from the beginning of the data. */
function readEntry(name: string, entry: JsonValue, path: string): SafetensorsEntry {
  const where = `${path}, tensor ${quote(name)}`;
  const bad = (found: string, expected?: string) => new LoamError({ code: 'damaged', found, expected, where });
  if (!isObject(entry)) throw bad('no object', '{"dtype", "shape", "data_offsets"}');
  const unknown = [...entry.keys()].find((key) => !['dtype', 'shape', 'data_offsets'].includes(key));
  if (unknown !== undefined) throw bad(`an unknown key ${quote(unknown)}`);
  const kind = entry.get('dtype');
  const dtype = dtypeNames.find((known) => dtypes[known].safetensors === kind);
  if (typeof kind !== 'string') throw bad('no dtype');
  if (dtype === undefined) {
    throw new UnsupportedError({
      found: `elements of type ${quote(kind)}`,
      expected: `one of ${dtypeNames.map((known) => dtypes[known].safetensors).join(', ')}`,
      where,
    });
  }
  const shape = entry.get('shape');
  const offsets = entry.get('data_offsets');
  if (!isNumbers(shape)) throw bad('no shape', 'a list of whole numbers');
  const problem = checkShape({ dtype, shape });
  if (problem !== undefined) throw bad(`a shape with ${problem}`);
  if (!isNumbers(offsets) || offsets.length !== 2 || !offsets.every((at) => Number.isSafeInteger(at) && at >= 0)) {
    throw bad('no data_offsets', 'two whole numbers');
  }
  const [from, to] = offsets as [number, number];
  const bytes = arrayBytes({ dtype, shape });
  if (to - from !== bytes) {
    throw bad(`${count(to - from)} bytes of data`, `${count(bytes)} for ${describeArray({ dtype, shape })}`);
  }
  return { name, dtype, shape, offset: from, bytes };
}

function isNumbers(value: JsonValue | undefined): value is readonly number[] {
  return isList(value) && value.every((x) => typeof x === 'number');
}

/** The length, the header, and spaces so that the data begin at a multiple of 8. */
function encodeSafetensorsHeader(tensors: readonly SafetensorsEntry[], metadata: ReadonlyMap<string, string>): Buffer {
  // Pieces of text rather than an object: a tensor may be called __proto__, and integers as keys would change their order.
  const parts: string[] = [];
  if (metadata.size > 0) {
    const pairs = [...metadata].map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
    parts.push(`"__metadata__":{${pairs.join(',')}}`);
  }
  for (const { name, dtype, shape, offset, bytes } of tensors) {
    const entry = { dtype: dtypes[dtype].safetensors, shape, data_offsets: [offset, offset + bytes] };
    parts.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
  }
  const text = Buffer.from(`{${parts.join(',')}}`);
  const length = Math.ceil(text.length / 8) * 8;
  const out = Buffer.alloc(8 + length, ' ');
  out.writeBigUInt64LE(BigInt(length), 0);
  text.copy(out, 8);
  return out;
}

export interface StoredTensor extends ArrayInfo {
  readonly bytes: number;
  /** Which file of a folder of several it is in. */
  readonly file?: string;
}

/** Named tensors on disk, of one safetensors file or of a folder of them. */
export interface TensorSource extends AsyncDisposable {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly metadata: ReadonlyMap<string, string>;
  /** Throws LoamError for an unknown name and a file that has shrunk. */
  read(name: string): Promise<NdArray>;
  /** `bytes` of a tensor from byte `from` on, such as some of its rows. RangeError for a range outside it. */
  readPart(name: string, from: number, bytes: number): Promise<Uint8Array>;
  /** The bytes of a tensor in pieces (the last may be shorter), each in fresh memory. */
  stream(name: string, pieceBytes?: number): AsyncGenerator<Uint8Array, void>;
}

/** An open safetensors file: tensors are read one by one. `await using file = await openSafetensors(path)`. */
export class SafetensorsFile extends TensorFile<SafetensorsEntry> implements TensorSource {
  /** Use `openSafetensors`; `tensors` by name, in the order of their data. */
  constructor(
    file: DataFile,
    tensors: ReadonlyMap<string, SafetensorsEntry>,
    readonly metadata: ReadonlyMap<string, string>,
  ) {
    super(file, tensors);
  }

  async read(name: string): Promise<NdArray> {
    const data = await this.readBytes(name);
    const { dtype, shape } = this.tensors.get(name)!;
    return { dtype, shape, data };
  }
}

/**
 * Opens a safetensors file: its header is read and held against the length of the file.
 * @throws LoamError for a file that is not as it should be, UnsupportedError for element types that Loam does not know
 */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  return await DataFile.open(path, async (file) => {
    const { size } = file;
    const notOne = (found: string) =>
      new LoamError({ code: 'wrong-format', found, expected: 'a safetensors file', where: path });
    if (size < 10) throw notOne(`the file has only ${size} bytes`);
    const start = Buffer.from(await file.bytes({ offset: 0, bytes: 8 }, 'the header'));
    // Rounded beyond 2^53, which is past the limit.
    const length = start.readUInt32LE(0) + start.readUInt32LE(4) * 2 ** 32;
    if (length > MAX_HEADER || length < 2) throw notOne(`a header of ${count(length)} bytes`);
    if (8 + length > size) throw notOne(`a header of ${count(length)} bytes in a file of ${count(size)}`);
    const { metadata, tensors } = readHeader(await file.bytes({ offset: 8, bytes: length }, 'the header'), size, path);
    return new SafetensorsFile(file, new Map(tensors.map((tensor) => [tensor.name, tensor])), metadata);
  });
}

/**
 * Writes tensors as a safetensors file, in the order given; data are written as they are produced. The file appears only when complete.
 * @param metadata texts by key; Hugging Face's libraries want `format` to be `pt`
 * @throws LoamError for names that stand twice, and data of another length than stated
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<NamedArrayToWrite>,
  metadata: Iterable<readonly [string, string]> = [],
): Promise<void> {
  const list = [...tensors];
  const names = new Set<string>();
  let offset = 0;
  const entries = list.map((tensor): SafetensorsEntry => {
    const { name, dtype, shape } = tensor;
    const shapeProblem = checkShape(tensor);
    const problem =
      name === '__metadata__'
        ? 'a name that the format keeps for itself'
        : names.has(name)
          ? 'the same name twice'
          : shapeProblem && `a shape with ${shapeProblem}`;
    if (problem !== undefined) {
      throw new LoamError({ code: 'invalid-data', found: problem, where: `${path}, tensor ${quote(name)}` });
    }
    names.add(name);
    const entry = { name, dtype, shape, offset, bytes: arrayBytes(tensor) };
    offset += entry.bytes;
    return entry;
  });
  const header = encodeSafetensorsHeader(entries, new Map(metadata));
  if (header.length - 8 > MAX_HEADER) {
    throw new LoamError({
      code: 'too-large',
      found: 'more names than a header takes',
      expected: 'at most 100 MB',
      where: path,
    });
  }
  await writeFileAtomic(path, async (file) => {
    await writeAll(file, header);
    for (const tensor of list) {
      for await (const piece of arrayPieces(tensor, `${path}, tensor ${quote(tensor.name)}`))
        await writeAll(file, piece);
    }
  });
}
