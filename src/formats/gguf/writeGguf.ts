import { LoamError, quote } from '../../base/errors.js';
import { count } from '../../base/format.js';
import { writeAll, writeFileAtomic } from '../../base/io.js';
import type { TensorType } from '../../engine/tensorTypes.js';
import { exactly, type TensorData, wrongLength } from '../dataFile.js';
import { ByteWriter } from './bytes.js';
import {
  alignmentOf,
  alignUp,
  checkAlignment,
  describeProblems,
  keyProblem,
  MAX_ARRAY_ELEMENTS,
  MAX_KEY_BYTES,
  MAX_METADATA_BYTES,
  MAX_METADATA_KEYS,
  MAX_STRING_BYTES,
  MAX_TENSORS,
  MAX_TOTAL_ARRAY_ELEMENTS,
  nameProblem,
  tensorBytes,
  WRITTEN_VERSION,
} from './rules.js';
import {
  ARRAY_ID,
  elementTypeId,
  type GgufElements,
  type GgufNumber,
  type GgufNumericType,
  type GgufText,
  type GgufValue,
  numericTypes,
  u32,
} from './values.js';

/** Writes GGUF v3, laid out as gguf.cpp does; what the reader would refuse is refused here. */

/** Half of a surrogate pair has no UTF-8 form; Buffer would write U+FFFD in its place. */
const loneSurrogate = /\p{Cs}/u;

function fail(where: string, found: string, expected: string): never {
  throw new LoamError({ found, expected, where });
}

function writeText(writer: ByteWriter, { value, raw }: GgufText, where: string): void {
  // Raw bytes belong to the text they were read with; beside another text they are left over from a copy.
  const bytes = raw !== undefined && Buffer.from(raw).toString('utf8') === value ? raw : undefined;
  const length = bytes?.length ?? Buffer.byteLength(value);
  if (length > MAX_STRING_BYTES)
    fail(where, `a string of ${count(length)} bytes`, `at most ${count(MAX_STRING_BYTES)}`);
  if (bytes !== undefined) {
    writer.u64(bytes.length);
    writer.bytes(bytes);
    return;
  }
  if (loneSurrogate.test(value)) fail(where, 'a string with half a surrogate pair', 'well-formed text');
  writer.text(value);
}

/** A number as the bytes of its type; a typed array wraps or cuts what does not fit, which shows when it is compared. */
function encodeNumber(value: GgufNumber, where: string): Uint8Array {
  if (value.raw !== undefined && Number.isNaN(value.value)) return value.raw;
  let stored: GgufElements[GgufNumericType];
  if (value.type === 'u64' || value.type === 'i64') stored = numericTypes[value.type].Elements.of(value.value);
  else stored = numericTypes[value.type].Elements.of(value.value);
  const wanted = value.type === 'f32' ? Math.fround(value.value) : value.value;
  const kept = stored[0] === wanted || (Number.isNaN(stored[0]) && Number.isNaN(wanted));
  const overflown = Number.isFinite(value.value) && !Number.isFinite(wanted) && typeof wanted === 'number';
  if (!kept || overflown) fail(where, `the number ${value.value}`, `one that fits ${value.type}`);
  return new Uint8Array(stored.buffer);
}

/** Writes one value with its type id in front, as gguf.cpp does. Throws LoamError naming `where` for what the type cannot hold. */
function writeValue(writer: ByteWriter, value: GgufValue, where: string): void {
  if (value.type !== 'array') {
    writer.u32(elementTypeId(value.type));
    if (value.type === 'string') writeText(writer, value, where);
    else if (value.type === 'bool') writer.u8(value.value ? 1 : 0);
    else writer.bytes(encodeNumber(value, where));
    return;
  }
  const elements = value.value.length;
  if (elements > MAX_ARRAY_ELEMENTS) {
    fail(where, `an array of ${count(elements)} elements`, `at most ${count(MAX_ARRAY_ELEMENTS)}`);
  }
  writer.u32(ARRAY_ID);
  writer.u32(elementTypeId(value.of));
  writer.u64(elements);
  if (value.of === 'string') {
    for (const [i, text] of value.value.entries()) writeText(writer, { value: text, raw: value.raw?.get(i) }, where);
  } else if (value.of === 'bool') {
    for (const element of value.value) writer.u8(element ? 1 : 0);
  } else {
    const { buffer, byteOffset, byteLength } = value.value;
    writer.bytes(new Uint8Array(buffer, byteOffset, byteLength));
  }
}

/** A tensor to be written, without its data. */
interface TensorEntry {
  readonly name: string;
  readonly type: TensorType;
  /** ggml order: ne0, the length of a row, comes first. */
  readonly shape: readonly number[];
}

/** Bytes of each tensor, in order. Throws one LoamError with everything that is wrong with the entries. */
function checkEntries(tensors: readonly TensorEntry[], where: string): number[] {
  if (tensors.length > MAX_TENSORS) {
    throw new LoamError({
      found: `${count(tensors.length)} tensors`,
      expected: `at most ${count(MAX_TENSORS)}`,
      where,
    });
  }
  const problems: string[] = [];
  const names = new Set<string>();
  const sizes = tensors.map(({ name, type, shape }) => {
    const report = (problem: string): number => problems.push(`tensor ${quote(name)} ${problem}`);
    const badName = wellFormed(name) ? nameProblem({ value: name }) : 'has half a surrogate pair in its name';
    if (badName !== undefined) report(badName);
    if (names.has(name)) report('is there twice');
    names.add(name);
    const whole = shape.every((length) => Number.isSafeInteger(length));
    const bytes = whole
      ? tensorBytes(type, shape.map(BigInt))
      : `has shape ${shape.join(' x ')}, expected whole numbers`;
    if (typeof bytes === 'number') return bytes;
    report(bytes);
    return 0;
  });
  if (problems.length > 0) throw new LoamError({ found: describeProblems(problems, 'the tensors'), where });
  return sizes;
}

const wellFormed = (text: string): boolean => !/\p{Cs}/u.test(text);

function writeMetadata(writer: ByteWriter, metadata: ReadonlyMap<string, GgufValue>, path: string): void {
  let elements = 0;
  const start = writer.length;
  for (const [key, value] of metadata) {
    const where = `${path}, key ${quote(key)}`;
    const bytes = Buffer.byteLength(key);
    const problem = wellFormed(key) ? keyProblem({ value: key }) : 'has half a surrogate pair';
    if (problem !== undefined) throw new LoamError({ found: `this key ${problem}`, expected: 'text', where });
    if (bytes > MAX_KEY_BYTES) {
      throw new LoamError({
        found: `a key of ${count(bytes)} bytes`,
        expected: `at most ${count(MAX_KEY_BYTES)}`,
        where,
      });
    }
    writer.text(key);
    writeValue(writer, value, where);
    if (value.type === 'array') elements += value.value.length;
    check(elements, MAX_TOTAL_ARRAY_ELEMENTS, 'elements of arrays', where);
    check(writer.length - start, MAX_METADATA_BYTES, 'bytes of metadata', where);
  }
}

function check(found: number, most: number, what: string, where: string): void {
  if (found > most)
    throw new LoamError({ found: `${count(found)} ${what}`, expected: `at most ${count(most)}`, where });
}

/**
 * Bytes of header, metadata, tensor table and padding, that is everything before the tensor data, laid out as
 * `gguf_write_to_file` of gguf.cpp does. `sizes`: bytes of each tensor. Throws LoamError for what the reader would refuse.
 */
export function encodeHeader(
  metadata: ReadonlyMap<string, GgufValue>,
  tensors: readonly TensorEntry[],
  sizes: readonly number[],
  alignment: number,
  path: string,
): Uint8Array {
  check(metadata.size, MAX_METADATA_KEYS, 'metadata keys', path);
  const writer = new ByteWriter();
  writer.bytes(Buffer.from('GGUF'));
  writer.u32(WRITTEN_VERSION);
  writer.u64(tensors.length);
  writer.u64(metadata.size);
  writeMetadata(writer, metadata, path);
  let offset = 0;
  tensors.forEach(({ name, type, shape }, i) => {
    writer.text(name);
    writer.u32(shape.length);
    for (const length of shape) writer.u64(length);
    writer.u32(type.id);
    writer.u64(offset);
    offset = alignUp(offset + sizes[i]!, alignment);
  });
  check(writer.length + offset, Number.MAX_SAFE_INTEGER - alignment, 'bytes of file', path);
  writer.pad(alignment);
  return writer.result();
}

export interface TensorToWrite extends TensorEntry {
  /** Called once, in the order of the tensors, where it is a function. */
  readonly data: TensorData;
}

export interface GgufToWrite {
  /** In the order to be written; a Map read from another file will do. */
  readonly metadata: Iterable<readonly [string, GgufValue]>;
  readonly tensors: Iterable<TensorToWrite>;
  /** Bytes; `general.alignment` if absent, or 32. One other than 32 is stored under that key. */
  readonly alignment?: number;
}

/** The metadata with the alignment in it where it must be, and that alignment. */
function settleAlignment(
  pairs: Iterable<readonly [string, GgufValue]>,
  wanted: number | undefined,
  path: string,
): { metadata: Map<string, GgufValue>; alignment: number } {
  const metadata = new Map<string, GgufValue>();
  for (const [key, value] of pairs) {
    if (metadata.has(key))
      throw new LoamError({ found: `key ${quote(key)} is there twice`, expected: 'once', where: path });
    metadata.set(key, value);
  }
  const stored = alignmentOf(metadata, path);
  const alignment = wanted === undefined ? stored : checkAlignment(wanted, path);
  if (alignment === stored) return { metadata, alignment };
  if (metadata.has('general.alignment')) {
    const found = `an alignment of ${alignment} beside "general.alignment" ${stored}`;
    throw new LoamError({ found, expected: 'both alike', where: path });
  }
  // Only another alignment than the default needs the key, and here stored is the default.
  metadata.set('general.alignment', u32(alignment));
  return { metadata, alignment };
}

/** Takes the next bytes of the file. */
type Sink = (bytes: Uint8Array) => Promise<void> | void;

const describe = ({ type, shape }: TensorEntry): string => `${type.name} [${shape.join(', ')}]`;

/**
 * Writes a GGUF v3 file that appears under `path` only when complete. Names, shapes, types, values and the length of data
 * at hand are checked before anything is written, data that is produced on the way as it comes. What `readGguf` has read
 * is written as the same bytes, padding of the last tensor included, as gguf.cpp does. Throws LoamError.
 */
export async function writeGguf(path: string, content: GgufToWrite): Promise<void> {
  const { emit } = prepare(path, content);
  await writeFileAtomic(path, (file) => emit((bytes) => writeAll(file, bytes)));
}

/** The same file in memory. @param name stands for the path in messages */
export async function encodeGguf(name: string, content: GgufToWrite): Promise<Uint8Array> {
  const { emit, size } = prepare(name, content);
  const out = new Uint8Array(size);
  let at = 0;
  await emit((bytes) => {
    out.set(bytes, at);
    at += bytes.length;
  });
  return out;
}

/** Checks the content; `emit` then gives the `size` bytes of the file in order. */
function prepare(path: string, content: GgufToWrite): { size: number; emit: (sink: Sink) => Promise<void> } {
  const tensors = [...content.tensors];
  const { metadata, alignment } = settleAlignment(content.metadata, content.alignment, path);
  const sizes = checkEntries(tensors, path);
  const placeOf = ({ name }: TensorEntry) => `${path}, tensor ${quote(name)}`;
  tensors.forEach((tensor, i) => {
    const { data } = tensor;
    if (data instanceof Uint8Array && data.length !== sizes[i]) {
      throw wrongLength(`${count(data.length)} bytes`, sizes[i]!, describe(tensor), placeOf(tensor));
    }
  });
  const header = encodeHeader(metadata, tensors, sizes, alignment, path);
  const padding = new Uint8Array(alignment);
  const padded = (size: number) => (alignment - (size % alignment)) % alignment;
  return {
    size: sizes.reduce((sum, size) => sum + size + padded(size), header.length),
    async emit(sink) {
      await sink(header);
      for (const [i, tensor] of tensors.entries()) {
        const pieces = exactly(tensor.data, sizes[i]!, describe(tensor), placeOf(tensor));
        for await (const piece of pieces) await sink(piece);
        await sink(padding.subarray(0, padded(sizes[i]!)));
      }
    },
  };
}
