import { LoamError } from '../util/errors.js';
import { count } from '../util/format.js';
import type { ByteWriter } from './ByteWriter.js';
import { MAX_ARRAY_ELEMENTS, MAX_STRING_BYTES } from './limits.js';
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
export function writeValue(writer: ByteWriter, value: GgufValue, where: string): void {
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
