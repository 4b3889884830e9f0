import { LoamError } from '../../base/errors.js';
import { count, listFirst } from '../../base/format.js';
import type { ByteReader } from './bytes.js';
import {
  ARRAY_ID,
  elementTypeById,
  type GgufElementType,
  type GgufNumericArray,
  type GgufNumericType,
  type GgufText,
  type GgufValue,
  numericTypes,
} from './Gguf.js';

/** Limits of the GGUF reader and writer, each with its reason. A file past one of them is refused before anything of that size is allocated. */

/** Versions read. 1 had 32-bit counts and is no longer read by llama.cpp; 2 and 3 differ only in that 3 admits big-endian files. */
export const READABLE_VERSIONS: readonly number[] = [2, 3];

/** The version written: `GGUF_VERSION` of gguf.h. */
export const WRITTEN_VERSION = 3;

/** `GGUF_DEFAULT_ALIGNMENT` of gguf.h: alignment of tensor data where `general.alignment` says nothing. */
export const DEFAULT_ALIGNMENT = 32;

/** The GGUF specification asks for a multiple of 8; below it a mapped f64 or i64 would be read unaligned by native code. */
export const MIN_ALIGNMENT = 8;

/** 64 KiB is the largest memory page of the systems Loam runs on; more would only pad the file. */
export const MAX_ALIGNMENT = 65_536;

/** Models carry 20 to 100 keys. llama.cpp compares each new key with all before it, so the count also bounds that square. */
export const MAX_METADATA_KEYS = 4_096;

/** The GGUF specification: a key is at most 2^16 - 1 bytes. */
export const MAX_KEY_BYTES = 65_535;

/** Chat templates reach 100 kB, whole tokenizer.json texts (`tokenizer.huggingface.json`) tens of MB. llama.cpp allows 1 GiB. */
export const MAX_STRING_BYTES = 64 * 1024 * 1024;

/** Gemma's 514,000 merges are the longest array known; this is four times that. llama.cpp allows 2^30. */
export const MAX_ARRAY_ELEMENTS = 2 ** 21;

/** Gemma's tokeniser has 1.3 million elements in all. As short strings these many take 200 MB of JavaScript's memory and a second to read (measured). */
export const MAX_TOTAL_ARRAY_ELEMENTS = 2 ** 22;

/** The bytes of each string that is not UTF-8 are kept, 300 bytes with their objects (measured): 80 MB for a whole vocabulary of them. */
export const MAX_RAW_STRINGS = 2 ** 18;

/** The largest tokenisers take 20 MB; a phone with 4 GB should not be asked to hold more than this of anything but weights. */
export const MAX_METADATA_BYTES = 128 * 1024 * 1024;

/** The largest models have about 2,000 tensors, their adapters twice that. llama.cpp compares each name with all before it. */
export const MAX_TENSORS = 16_384;

/** `GGML_MAX_NAME` of ggml.h is 64 with the closing NUL; llama.cpp refuses longer names. */
export const MAX_TENSOR_NAME_BYTES = 63;

/** `GGML_MAX_DIMS` of ggml.h. */
export const MAX_DIMS = 4;

/** Every entry at its longest: name length, name, number of dimensions, dimensions, type, offset. Names too long are read on, to report all problems, but not for ever. */
export const MAX_TENSOR_TABLE_BYTES = MAX_TENSORS * (8 + MAX_TENSOR_NAME_BYTES + 4 + MAX_DIMS * 8 + 4 + 8);

/** A damaged table can have a problem per tensor; ten show the pattern. */
export const MAX_REPORTED_PROBLEMS = 10;

/** What the arrays of one file have taken so far. */
interface ArrayBudget {
  elements: number;
  /** Strings that are not UTF-8. */
  raw: number;
}

function fail(reader: ByteReader, what: string, found: string, expected: string): never {
  throw new LoamError({ found: `${what} ${found}`, expected, where: reader.path });
}

/** Reads a string: u64 length, then that many bytes. `what` names it in errors. Throws LoamError past `maxBytes`. */
export async function readText(reader: ByteReader, maxBytes: number, what: string): Promise<GgufText> {
  if (!reader.has(8)) await reader.need(8, what);
  const length = reader.length();
  if (length > maxBytes) {
    fail(reader, what, `is ${count(length)} bytes long`, `at most ${count(maxBytes)}`);
  }
  if (!reader.has(length)) await reader.need(length, what);
  return reader.text(length);
}

/** A loop of its own, without an await per element: vocabularies have 150,000 of them. */
async function readStrings(
  reader: ByteReader,
  elements: number,
  budget: ArrayBudget,
  what: string,
): Promise<GgufValue> {
  const value: string[] = [];
  const raw = new Map<number, Uint8Array>();
  for (let i = 0; i < elements; i++) {
    if (!reader.has(8)) await reader.need(8, what);
    const length = reader.length();
    if (length > MAX_STRING_BYTES) {
      fail(reader, what, `has an element ${count(i)} of ${count(length)} bytes`, `at most ${count(MAX_STRING_BYTES)}`);
    }
    if (!reader.has(length)) await reader.need(length, what);
    const text = reader.text(length);
    value.push(text.value);
    if (text.raw === undefined) continue;
    raw.set(i, text.raw);
    if (++budget.raw > MAX_RAW_STRINGS) {
      fail(reader, what, 'brings the strings that are not UTF-8 beyond the limit', `at most ${count(MAX_RAW_STRINGS)}`);
    }
  }
  return raw.size === 0 ? { type: 'array', of: 'string', value } : { type: 'array', of: 'string', value, raw };
}

/** The specification has 0 and 1 only; llama.cpp takes the rest as true, which could not be written back. */
function asBool(reader: ByteReader, what: string, byte: number): boolean {
  if (byte > 1) fail(reader, what, `has a boolean stored as ${byte}`, '0 or 1');
  return byte === 1;
}

function knownElementType(reader: ByteReader, id: number, what: string): GgufElementType {
  const type = elementTypeById(id);
  if (type !== undefined) return type;
  if (id === ARRAY_ID) fail(reader, what, 'is an array of arrays', 'an array of numbers, booleans or strings');
  return fail(reader, what, `has value type ${id}`, 'a type from 0 to 12');
}

async function readArray(reader: ByteReader, budget: ArrayBudget, what: string): Promise<GgufValue> {
  await reader.need(12, what);
  const of = knownElementType(reader, reader.u32(), what);
  const elements = reader.length();
  if (elements > MAX_ARRAY_ELEMENTS) {
    fail(reader, what, `has ${count(elements)} elements`, `at most ${count(MAX_ARRAY_ELEMENTS)}`);
  }
  budget.elements += elements;
  if (budget.elements > MAX_TOTAL_ARRAY_ELEMENTS) {
    const found = `brings the elements of all arrays to ${count(budget.elements)}`;
    fail(reader, what, found, `at most ${count(MAX_TOTAL_ARRAY_ELEMENTS)}`);
  }
  if (of === 'string') {
    reader.require(elements * 8, what); // each has at least its length
    return readStrings(reader, elements, budget, what);
  }
  const { Elements } = numericTypes[of === 'bool' ? 'u8' : of];
  const size = elements * Elements.BYTES_PER_ELEMENT;
  reader.require(size, what); // before anything of that size is allocated
  const bytes = new Uint8Array(size);
  await reader.readInto(bytes, what);
  if (of === 'bool') return { type: 'array', of, value: Array.from(bytes, (byte) => asBool(reader, what, byte)) };
  return { type: 'array', of, value: new Elements(bytes.buffer) } as GgufNumericArray;
}

/** NaN as this machine writes it. */
function encodeNaN(type: GgufNumericType): Uint8Array {
  return new Uint8Array((type === 'f32' ? Float32Array.of(Number.NaN) : Float64Array.of(Number.NaN)).buffer);
}

/** Reads one value with its type id in front. `what` names it in errors: `key "general.name"`. Throws LoamError. */
export async function readValue(reader: ByteReader, budget: ArrayBudget, what: string): Promise<GgufValue> {
  await reader.need(4, what);
  const id = reader.u32();
  if (id === ARRAY_ID) return readArray(reader, budget, what);
  const type = knownElementType(reader, id, what);
  if (type === 'string') return { type, ...(await readText(reader, MAX_STRING_BYTES, what)) };
  if (type === 'bool') {
    await reader.need(1, what);
    return { type, value: asBool(reader, what, reader.u8()) };
  }
  // A scalar is read as an array of one, so that one table serves both.
  const { Elements } = numericTypes[type];
  const bytes = new Uint8Array(Elements.BYTES_PER_ELEMENT);
  await reader.readInto(bytes, what);
  const value = new Elements(bytes.buffer)[0];
  const known = !Number.isNaN(value) || Buffer.from(encodeNaN(type)).equals(bytes);
  return (known ? { type, value } : { type, value, raw: bytes }) as GgufValue;
}

/** Several problems as the one thing found: the first ten and how many more there are. */
export function describeProblems(problems: readonly string[], place: string): string {
  if (problems.length === 1) return problems[0]!;
  const numbered = problems.map((problem, i) => `(${i + 1}) ${problem}`);
  return `${count(problems.length)} problems in ${place}: ${listFirst(numbered, MAX_REPORTED_PROBLEMS)}`;
}
