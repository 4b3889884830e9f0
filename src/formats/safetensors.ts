import { LoamError, quote, UnsupportedError } from '../base/errors.js';
import { count } from '../base/format.js';
import { openRegularFile, writeAll, writeFileAtomic } from '../base/io.js';
import { type JsonValue, parseJson } from '../base/json.js';
import { ArrayFile, arrayPieces } from './arrayFile.js';
import {
  type ArrayInfo,
  arrayBytes,
  checkShape,
  describeArray,
  dtypeNames,
  dtypes,
  MAX_SAFETENSORS_HEADER,
  type NamedArrayToWrite,
  type NdArray,
  PIECE_BYTES,
} from './arrays.js';

interface SafetensorsEntry extends ArrayInfo {
  readonly name: string;
  /** From the start of the data. */
  readonly offset: number;
  readonly bytes: number;
}

interface SafetensorsHeader {
  readonly metadata: ReadonlyMap<string, string>;
  /** In the order of their data. */
  readonly tensors: readonly SafetensorsEntry[];
}

/**
 * Reads the JSON header of a safetensors file and holds it against the `dataBytes` that follow it: tensors must fill them without holes and
 * without overlaps, as the format asks (safetensors/src/tensor.rs, Metadata::validate).
 * @throws LoamError; UnsupportedError for element types that Loam does not know
 */
function decodeSafetensorsHeader(bytes: Uint8Array, dataBytes: number, path: string): SafetensorsHeader {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new LoamError(
      { found: 'a header that is not UTF-8', expected: 'a safetensors file', where: path },
      { cause },
    );
  }
  if (text[0] !== '{')
    throw new LoamError({ found: 'a header that is no object', expected: 'it to begin with {', where: path });
  const header = parseJson(text, `${path}, header`);
  if (!(header instanceof Map)) throw new LoamError({ found: 'a header that is no object', where: path });
  let metadata: ReadonlyMap<string, string> = new Map();
  const tensors: SafetensorsEntry[] = [];
  for (const [name, value] of header as ReadonlyMap<string, JsonValue>) {
    if (name === '__metadata__') metadata = readMetadata(value, path);
    else tensors.push(readEntry(name, value, path));
  }
  // Empty tensors first where they share a place with others.
  tensors.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let end = 0;
  for (const { name, offset, bytes } of tensors) {
    if (offset !== end) {
      throw new LoamError({
        found: `tensor ${quote(name)} begins at ${count(offset)}${offset < end ? ', within another' : ', after a hole'}`,
        expected: `${count(end)}, where the one before it ends`,
        where: path,
      });
    }
    end += bytes;
  }
  if (end !== dataBytes) {
    throw new LoamError({
      found: `${count(dataBytes)} bytes of data`,
      expected: `${count(end)}, as the header says`,
      where: path,
      fix: dataBytes < end ? 'it is truncated: download or copy it again' : undefined,
    });
  }
  return { metadata, tensors };
}

function readMetadata(value: JsonValue, path: string): ReadonlyMap<string, string> {
  const texts = value instanceof Map && [...value.values()].every((text) => typeof text === 'string');
  if (!texts)
    throw new LoamError({ found: '__metadata__ of another kind', expected: 'an object of texts', where: path });
  return value as ReadonlyMap<string, string>;
}

function readEntry(name: string, value: JsonValue, path: string): SafetensorsEntry {
  const where = `${path}, tensor ${quote(name)}`;
  const bad = (found: string, expected?: string) => new LoamError({ found, expected, where });
  if (!(value instanceof Map)) throw bad('no object', '{"dtype", "shape", "data_offsets"}');
  const entry = value as ReadonlyMap<string, JsonValue>;
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
  return Array.isArray(value) && value.every((x) => typeof x === 'number');
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
export class SafetensorsFile implements TensorSource {
  readonly path: string;

  /** Use `openSafetensors`. */
  constructor(
    /** By name, in the order of their data. */
    readonly tensors: ReadonlyMap<string, SafetensorsEntry>,
    readonly metadata: ReadonlyMap<string, string>,
    private readonly dataStart: number,
    private readonly file: ArrayFile,
  ) {
    this.path = file.path;
  }

  private find(name: string): SafetensorsEntry {
    const tensor = this.tensors.get(name);
    if (tensor) return tensor;
    throw new LoamError({
      found: `there is no tensor ${quote(name)} among its ${count(this.tensors.size)}`,
      where: this.path,
    });
  }

  async read(name: string): Promise<NdArray> {
    const { dtype, shape, bytes } = this.find(name);
    return { dtype, shape, data: await this.readPart(name, 0, bytes) };
  }

  async readPart(name: string, from: number, bytes: number): Promise<Uint8Array> {
    const tensor = this.find(name);
    const whole = Number.isSafeInteger(from) && Number.isSafeInteger(bytes) && from >= 0 && bytes >= 0;
    if (!whole || from + bytes > tensor.bytes) {
      throw new RangeError(`${bytes} bytes from ${from} are not within tensor ${quote(name)} of ${tensor.bytes}`);
    }
    return await this.file.read(this.dataStart + tensor.offset + from, bytes, `tensor ${quote(name)}`);
  }

  stream(name: string, pieceBytes = PIECE_BYTES): AsyncGenerator<Uint8Array, void> {
    const { offset, bytes } = this.find(name);
    return this.file.stream(this.dataStart + offset, bytes, pieceBytes, `tensor ${quote(name)}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.file[Symbol.asyncDispose]();
  }
}

/**
 * Opens a safetensors file: its header is read and held against the length of the file.
 * @throws LoamError for a file that is not as it should be, UnsupportedError for element types that Loam does not know
 */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  const { file, size } = await openRegularFile(path);
  const source = new ArrayFile(path, size, file);
  try {
    const notOne = (found: string) => new LoamError({ found, expected: 'a safetensors file', where: path });
    if (size < 10) throw notOne(`the file has only ${size} bytes`);
    const start = Buffer.from(await source.read(0, 8, 'the header'));
    // Rounded beyond 2^53, which is past the limit.
    const length = start.readUInt32LE(0) + start.readUInt32LE(4) * 2 ** 32;
    if (length > MAX_SAFETENSORS_HEADER || length < 2) throw notOne(`a header of ${count(length)} bytes`);
    if (8 + length > size) throw notOne(`a header of ${count(length)} bytes in a file of ${count(size)}`);
    const header = decodeSafetensorsHeader(await source.read(8, length, 'the header'), size - 8 - length, path);
    const tensors = new Map(header.tensors.map((tensor) => [tensor.name, tensor]));
    return new SafetensorsFile(tensors, header.metadata, 8 + length, source);
  } catch (error) {
    await file.close();
    throw error;
  }
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
    const where = `${path}, tensor ${quote(name)}`;
    if (name === '__metadata__') throw new LoamError({ found: 'a name that the format keeps for itself', where });
    if (names.has(name)) throw new LoamError({ found: 'the same name twice', where });
    names.add(name);
    const problem = checkShape(tensor);
    if (problem !== undefined) throw new LoamError({ found: `a shape with ${problem}`, where });
    const entry = { name, dtype, shape, offset, bytes: arrayBytes(tensor) };
    offset += entry.bytes;
    return entry;
  });
  const header = encodeSafetensorsHeader(entries, new Map(metadata));
  if (header.length - 8 > MAX_SAFETENSORS_HEADER) {
    throw new LoamError({ found: 'more names than a header takes', expected: 'at most 100 MB', where: path });
  }
  await writeFileAtomic(path, async (file) => {
    await writeAll(file, header);
    for (const tensor of list) {
      for await (const piece of arrayPieces(tensor, `${path}, tensor ${quote(tensor.name)}`))
        await writeAll(file, piece);
    }
  });
}
