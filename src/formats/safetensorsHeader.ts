import { LoamError, UnsupportedError } from '../util/errors.js';
import { count } from '../util/format.js';
import { type JsonValue, parseJson } from '../util/parseJson.js';
import { quote } from '../util/quote.js';
import { checkShape } from './checkShape.js';
import { type ArrayInfo, arrayBytes, describeArray, dtypeNames, dtypes } from './dtypes.js';

export interface SafetensorsEntry extends ArrayInfo {
  readonly name: string;
  /** From the start of the data. */
  readonly offset: number;
  readonly bytes: number;
}

export interface SafetensorsHeader {
  readonly metadata: ReadonlyMap<string, string>;
  /** In the order of their data. */
  readonly tensors: readonly SafetensorsEntry[];
}

/**
 * Reads the JSON header of a safetensors file and holds it against the `dataBytes` that follow it: tensors must fill them without holes and
 * without overlaps, as the format asks (safetensors/src/tensor.rs, Metadata::validate).
 * @throws LoamError; UnsupportedError for element types that Loam does not know
 */
export function decodeSafetensorsHeader(bytes: Uint8Array, dataBytes: number, path: string): SafetensorsHeader {
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
export function encodeSafetensorsHeader(
  tensors: readonly SafetensorsEntry[],
  metadata: ReadonlyMap<string, string>,
): Buffer {
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
