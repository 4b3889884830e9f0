import type { FileHandle } from 'node:fs/promises';
import { LoamError, quote } from '../../base/errors.js';
import { count } from '../../base/format.js';
import { writeAll, writeFileAtomic } from '../../base/io.js';
import type { TensorType } from '../../engine/tensorTypes.js';
import { exactly, type TensorData, wrongLength } from '../dataFile.js';
import { ByteWriter } from './bytes.js';
import {
  alignmentOf,
  alignUp,
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
} from './values.js';

/** Writes GGUF v3, laid out as gguf.cpp does; what the reader would refuse is refused here. */

/** Half of a surrogate pair has no UTF-8 form; Buffer would write U+FFFD in its place. */
const wellFormed = (text: string): boolean => !/\p{Cs}/u.test(text);

function fail(where: string, found: string, expected: string): never {
  throw new LoamError({ code: 'invalid-data', found, expected, where });
}

function writeText(writer: ByteWriter, { value, raw }: GgufText, where: string): void {
  // Raw bytes belong to the text they were read with; beside another text they are left over from a copy.
  const bytes = raw !== undefined && Buffer.from(raw).toString('utf8') === value ? raw : undefined;
  const length = bytes?.length ?? Buffer.byteLength(value);
  check(length, MAX_STRING_BYTES, 'bytes of string', where);
  if (bytes !== undefined) {
    writer.u64(bytes.length);
    writer.bytes(bytes);
    return;
  }
  if (!wellFormed(value)) fail(where, 'a string with half a surrogate pair', 'well-formed text');
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
  check(elements, MAX_ARRAY_ELEMENTS, 'elements of an array', where);
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

interface SizedEntry extends TensorEntry {
  readonly bytes: number;
}

/** The entries with the bytes of each tensor. Throws one LoamError with everything that is wrong with them. */
function checkEntries<T extends TensorEntry>(tensors: readonly T[], where: string): (T & SizedEntry)[] {
  check(tensors.length, MAX_TENSORS, 'tensors', where);
  const problems: string[] = [];
  const names = new Set<string>();
  const sized = tensors.map((tensor) => {
    const { name, type, shape } = tensor;
    const report = (problem: string): number => problems.push(`tensor ${quote(name)} ${problem}`);
    const badName = wellFormed(name) ? nameProblem({ value: name }) : 'has half a surrogate pair in its name';
    if (badName !== undefined) report(badName);
    if (names.has(name)) report('is there twice');
    names.add(name);
    const whole = shape.every((length) => Number.isSafeInteger(length));
    const bytes = whole
      ? tensorBytes(type, shape.map(BigInt))
      : `has shape ${shape.join(' x ')}, expected whole numbers`;
    if (typeof bytes === 'string') report(bytes);
    return { ...tensor, bytes: Number(bytes) };
  });
  if (problems.length > 0) {
    throw new LoamError({ code: 'invalid-data', found: describeProblems(problems, 'the tensors'), where });
  }
  return sized;
}

function writeMetadata(writer: ByteWriter, metadata: ReadonlyMap<string, GgufValue>, path: string): void {
  let elements = 0;
  const start = writer.length;
  for (const [key, value] of metadata) {
    const where = `${path}, key ${quote(key)}`;
    const bytes = Buffer.byteLength(key);
    const problem = wellFormed(key) ? keyProblem({ value: key }) : 'has half a surrogate pair';
    if (problem !== undefined) fail(where, `this key ${problem}`, 'text');
    check(bytes, MAX_KEY_BYTES, 'bytes of key', where);
    writer.text(key);
    writeValue(writer, value, where);
    if (value.type === 'array') elements += value.value.length;
    check(elements, MAX_TOTAL_ARRAY_ELEMENTS, 'elements of arrays', where);
    check(writer.length - start, MAX_METADATA_BYTES, 'bytes of metadata', where);
  }
}

function check(found: number, most: number, what: string, where: string): void {
  if (found <= most) return;
  throw new LoamError({
    code: 'too-large',
    found: `${count(found)} ${what}`,
    expected: `at most ${count(most)}`,
    where,
  });
}

/**
 * Bytes of header, metadata, tensor table and padding, that is everything before the tensor data, laid out as
 * `gguf_write_to_file` of gguf.cpp does. Throws LoamError for what the reader would refuse.
 */
export function encodeHeader(
  metadata: ReadonlyMap<string, GgufValue>,
  tensors: readonly SizedEntry[],
  path: string,
): Uint8Array {
  const alignment = alignmentOf(metadata, path);
  check(metadata.size, MAX_METADATA_KEYS, 'metadata keys', path);
  const writer = new ByteWriter();
  writer.bytes(Buffer.from('GGUF'));
  writer.u32(WRITTEN_VERSION);
  writer.u64(tensors.length);
  writer.u64(metadata.size);
  writeMetadata(writer, metadata, path);
  let offset = 0;
  for (const { name, type, shape, bytes } of tensors) {
    writer.text(name);
    writer.u32(shape.length);
    for (const length of shape) writer.u64(length);
    writer.u32(type.id);
    writer.u64(offset);
    offset = alignUp(offset + bytes, alignment);
  }
  check(writer.length + offset, Number.MAX_SAFE_INTEGER - alignment, 'bytes of file', path);
  writer.pad(alignment);
  return writer.result();
}

export interface TensorToWrite extends TensorEntry {
  /** If a function, it is called once, in the order of the tensors. */
  readonly data: TensorData;
}

export interface GgufToWrite {
  /** In the order to be written; a Map read from another file will do. `general.alignment` sets the alignment of tensors. */
  readonly metadata: Iterable<readonly [string, GgufValue]>;
  readonly tensors: Iterable<TensorToWrite>;
}

/**
 * Writes a GGUF v3 file that appears under `path` only when complete. Names, shapes, types, values and the length of data
 * at hand are checked before anything is written, data that is produced on the way as it comes. What `readGguf` has read
 * is written as the same bytes, padding of the last tensor included, as gguf.cpp does. Throws LoamError.
 */
export async function writeGguf(path: string, content: GgufToWrite): Promise<void> {
  const { pieces } = prepare(path, content);
  await writeFileAtomic(path, async (file) => {
    for await (const piece of pieces) await writeAll(file, piece);
  });
}

/** Writes the same into an open file, which is not synced. @param path stands for it in messages */
export async function writeGgufTo(file: FileHandle, path: string, content: GgufToWrite): Promise<void> {
  for await (const piece of prepare(path, content).pieces) await writeAll(file, piece);
}

/** The same file in memory. @param name stands for the path in messages */
export async function encodeGguf(name: string, content: GgufToWrite): Promise<Uint8Array> {
  const { pieces, size } = prepare(name, content);
  const out = new Uint8Array(size);
  let at = 0;
  for await (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}

/** Checks the content, before the first of the `pieces` that make a file of `size` bytes is asked for. */
function prepare(path: string, content: GgufToWrite): { size: number; pieces: AsyncIterable<Uint8Array> } {
  const metadata = new Map<string, GgufValue>();
  for (const [key, value] of content.metadata) {
    if (metadata.has(key)) fail(path, `key ${quote(key)} is there twice`, 'once');
    metadata.set(key, value);
  }
  const tensors = checkEntries([...content.tensors], path);
  const describe = ({ type, shape }: TensorEntry): string => `${type.name} [${shape.join(', ')}]`;
  const placeOf = ({ name }: TensorEntry): string => `${path}, tensor ${quote(name)}`;
  for (const tensor of tensors) {
    const { data, bytes } = tensor;
    if (data instanceof Uint8Array && data.length !== bytes) {
      throw wrongLength(`${count(data.length)} bytes`, bytes, describe(tensor), placeOf(tensor));
    }
  }
  const header = encodeHeader(metadata, tensors, path);
  const alignment = alignmentOf(metadata, path);
  async function* pieces() {
    yield header;
    for (const tensor of tensors) {
      const { data, bytes } = tensor;
      yield* exactly(data, bytes, describe(tensor), placeOf(tensor));
      yield new Uint8Array(alignUp(bytes, alignment) - bytes);
    }
  }
  const size = tensors.reduce((sum, { bytes }) => sum + alignUp(bytes, alignment), header.length);
  return { size, pieces: pieces() };
}
