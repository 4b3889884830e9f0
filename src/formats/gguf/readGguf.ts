import { LoamError, quote, UnsupportedError } from '../../base/errors.js';
import { count } from '../../base/format.js';
import { DataFile } from '../dataFile.js';
import { ByteReader, type ByteSource } from './bytes.js';
import { describeForeign } from './describeForeign.js';
import { Gguf } from './Gguf.js';
import {
  alignmentOf,
  keyProblem,
  MAX_ARRAY_ELEMENTS,
  MAX_KEY_BYTES,
  MAX_METADATA_BYTES,
  MAX_METADATA_KEYS,
  MAX_RAW_STRINGS,
  MAX_STRING_BYTES,
  MAX_TOTAL_ARRAY_ELEMENTS,
  mostStrings,
  READABLE_VERSIONS,
} from './rules.js';
import { readTensorTable } from './tensorTable.js';
import {
  ARRAY_ID,
  elementTypeById,
  type GgufElementType,
  type GgufNumericArray,
  type GgufNumericType,
  type GgufValue,
  numericTypes,
} from './values.js';

/** Reads and checks all of a GGUF file but its weights. */

/** What the arrays of one file have taken so far. */
interface ArrayBudget {
  elements: number;
  strings: number;
  /** Strings that are not UTF-8. */
  raw: number;
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
      reader.fail(what, `has an element ${count(i)} of ${count(length)} bytes`, `at most ${count(MAX_STRING_BYTES)}`);
    }
    if (!reader.has(length)) await reader.need(length, what);
    const text = reader.text(length);
    value.push(text.value);
    if (text.raw === undefined) continue;
    raw.set(i, text.raw);
    if (++budget.raw > MAX_RAW_STRINGS) {
      reader.fail(what, 'brings the strings that are not UTF-8 beyond the limit', `at most ${count(MAX_RAW_STRINGS)}`);
    }
  }
  return raw.size === 0 ? { type: 'array', of: 'string', value } : { type: 'array', of: 'string', value, raw };
}

/** The specification has 0 and 1 only; llama.cpp takes the rest as true, which could not be written back. */
function asBool(reader: ByteReader, what: string, byte: number): boolean {
  if (byte > 1) reader.fail(what, `has a boolean stored as ${byte}`, '0 or 1');
  return byte === 1;
}

function knownElementType(reader: ByteReader, id: number, what: string): GgufElementType {
  const type = elementTypeById(id);
  if (type !== undefined) return type;
  if (id === ARRAY_ID) reader.fail(what, 'is an array of arrays', 'an array of numbers, booleans or strings');
  return reader.fail(what, `has value type ${id}`, 'a type from 0 to 12');
}

async function readArray(reader: ByteReader, budget: ArrayBudget, what: string): Promise<GgufValue> {
  await reader.need(12, what);
  const of = knownElementType(reader, reader.u32(), what);
  const elements = reader.length();
  if (elements > MAX_ARRAY_ELEMENTS) {
    reader.fail(what, `has ${count(elements)} elements`, `at most ${count(MAX_ARRAY_ELEMENTS)}`);
  }
  budget.elements += elements;
  if (budget.elements > MAX_TOTAL_ARRAY_ELEMENTS) {
    const found = `brings the elements of all arrays to ${count(budget.elements)}`;
    reader.fail(what, found, `at most ${count(MAX_TOTAL_ARRAY_ELEMENTS)}`);
  }
  if (of === 'string') {
    reader.require(elements * 8, what); // each has at least its length
    budget.strings += elements;
    const most = mostStrings(reader.size);
    if (budget.strings > most) {
      reader.fail(what, `brings the strings of all arrays to ${count(budget.strings)}`, `at most ${count(most)}`);
    }
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
async function readValue(reader: ByteReader, budget: ArrayBudget, what: string): Promise<GgufValue> {
  await reader.need(4, what);
  const id = reader.u32();
  if (id === ARRAY_ID) return readArray(reader, budget, what);
  const type = knownElementType(reader, id, what);
  if (type === 'string') return { type, ...(await reader.string(MAX_STRING_BYTES, what)) };
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

/** Key length, one byte of key, type, one byte of value. */
const SMALLEST_ENTRY = 8 + 1 + 4 + 1;

/** Reads `keys` key-value pairs in file order. Throws LoamError for duplicates, malformed keys or values, and past the limits. */
async function readMetadata(reader: ByteReader, keys: bigint): Promise<Map<string, GgufValue>> {
  const where = reader.path;
  if (keys > MAX_METADATA_KEYS) {
    const expected = `at most ${count(MAX_METADATA_KEYS)}`;
    throw new LoamError({
      code: 'too-large',
      found: `the header declares ${count(keys)} metadata keys`,
      expected,
      where,
    });
  }
  reader.startLimit(MAX_METADATA_BYTES, 'the metadata');
  reader.require(Number(keys) * SMALLEST_ENTRY, `the metadata of ${count(keys)} keys`);
  const metadata = new Map<string, GgufValue>();
  const budget = { elements: 0, strings: 0, raw: 0 };
  for (let i = 0; i < Number(keys); i++) {
    const key = await reader.string(MAX_KEY_BYTES, `metadata key ${i}`);
    const problem = keyProblem(key);
    if (problem !== undefined) {
      reader.fail(`metadata key ${i}, ${quote(key.value)},`, problem, 'UTF-8 text');
    }
    if (metadata.has(key.value)) {
      reader.fail(`metadata key ${quote(key.value)}`, 'is there twice', 'once');
    }
    metadata.set(key.value, await readValue(reader, budget, `key ${quote(key.value)}`));
  }
  reader.endLimit();
  return metadata;
}

/** Throws UnsupportedError for one part of a model split over several files (`split.count` above 1, u16 in llama.cpp). */
function refuseSplit(metadata: ReadonlyMap<string, GgufValue>, path: string): void {
  const parts = metadata.get('split.count')?.value;
  if ((typeof parts === 'number' || typeof parts === 'bigint') && parts > 1) {
    throw new UnsupportedError({
      found: `this is one of ${count(parts)} parts of a split model`,
      expected: 'a single file',
      where: path,
      fix: 'join the parts with "llama-gguf-split --merge FIRST_PART OUT.gguf"',
    });
  }
}

/** Enough of a file's beginning to tell what it is if it is not GGUF. */
const HEAD_BYTES = 512;

function checkVersion(version: number, where: string): void {
  if (READABLE_VERSIONS.includes(version)) return;
  const expected = `version ${READABLE_VERSIONS.join(' or ')}`;
  if (version === 1) {
    const fix = 'look for a newer GGUF of this model, or convert it again';
    throw new UnsupportedError({ found: 'this is a GGUF v1 file', expected, where, fix });
  }
  // The test of gguf.cpp: a version stored the other way round has its low 16 bits clear.
  if (version !== 0 && (version & 0xffff) === 0) {
    const fix = 'look for a little-endian GGUF of this model, or convert it again';
    throw new UnsupportedError({
      found: 'this is a big-endian GGUF file',
      expected: 'a little-endian one',
      where,
      fix,
    });
  }
  const fix = version > Math.max(...READABLE_VERSIONS) ? 'update Loam if there is a newer GGUF version' : undefined;
  throw new UnsupportedError({ found: `this is a GGUF v${version} file`, expected, where, fix });
}

/** As `readGguf`, from any source of bytes; `path` is for messages. */
export async function parseGguf(source: ByteSource, path: string): Promise<Gguf> {
  const where = path;
  if (source.size === 0) {
    throw new LoamError({
      code: 'damaged',
      found: 'the file is empty',
      expected: 'a GGUF file',
      where,
      fix: 'download it again',
    });
  }
  const reader = new ByteReader(source, path);
  const headBytes = Math.min(HEAD_BYTES, source.size);
  await reader.need(headBytes, 'the header');
  const head = reader.peek(headBytes);
  // A file cut within the magic is truncated, not foreign.
  const magic = Buffer.from('GGUF').subarray(0, headBytes);
  if (!magic.equals(head.subarray(0, magic.length)))
    throw new LoamError({ code: 'wrong-format', ...describeForeign(head), where });
  await reader.need(24, 'the header');
  reader.u32(); // the magic
  const version = reader.u32();
  checkVersion(version, where);
  const tensorCount = reader.u64();
  const keyCount = reader.u64();
  const metadata = await readMetadata(reader, keyCount);
  const alignment = alignmentOf(metadata, path);
  refuseSplit(metadata, path);
  const tensors = await readTensorTable(reader, tensorCount, alignment);
  return new Gguf(path, source.size, version, metadata, tensors);
}

/**
 * Reads and checks header, metadata and tensor table of a GGUF file (v2 or v3, little-endian), but no weights. At least
 * as strict as `gguf_init_from_file` of llama.cpp (ggml/src/gguf.cpp), so that nothing malformed reaches native code.
 * Throws LoamError for a file that is malformed, foreign or truncated, UnsupportedError for one that Loam does not read.
 */
export async function readGguf(path: string): Promise<Gguf> {
  return await DataFile.open(path, async (file) => {
    await using _ = file;
    if (!Number.isSafeInteger(file.size)) {
      const found = `a file of ${count(file.size)} bytes`;
      throw new UnsupportedError({ found, expected: 'less than 2^53', where: path });
    }
    return await parseGguf(file, path);
  });
}
