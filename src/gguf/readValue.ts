import { LoamError } from '../util/errors.js';
import { count } from '../util/format.js';
import type { ByteReader } from './ByteReader.js';
import { MAX_ARRAY_ELEMENTS, MAX_RAW_STRINGS, MAX_STRING_BYTES, MAX_TOTAL_ARRAY_ELEMENTS } from './limits.js';
import {
  ARRAY_ID,
  elementTypeById,
  type GgufElementType,
  type GgufNumericArray,
  type GgufNumericType,
  type GgufText,
  type GgufValue,
  numericTypes,
} from './values.js';

/** What the arrays of one file have taken so far. */
export interface ArrayBudget {
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
