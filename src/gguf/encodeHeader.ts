import type { TensorType } from '../ggml/tensorTypes.js';
import { LoamError } from '../util/errors.js';
import { count } from '../util/format.js';
import { quote } from '../util/quote.js';
import { alignUp } from './alignUp.js';
import { ByteWriter } from './ByteWriter.js';
import {
  MAX_KEY_BYTES,
  MAX_METADATA_BYTES,
  MAX_METADATA_KEYS,
  MAX_TENSORS,
  MAX_TOTAL_ARRAY_ELEMENTS,
  WRITTEN_VERSION,
} from './limits.js';
import { describeProblems } from './problems.js';
import { keyProblem } from './readMetadata.js';
import { nameProblem, tensorBytes } from './tensorRules.js';
import type { GgufValue } from './values.js';
import { writeValue } from './writeValue.js';

/** A tensor to be written, without its data. */
export interface TensorEntry {
  readonly name: string;
  readonly type: TensorType;
  /** ggml order: ne0, the length of a row, comes first. */
  readonly shape: readonly number[];
}

/** Bytes of each tensor, in order. Throws one LoamError with everything that is wrong with the entries. */
export function checkEntries(tensors: readonly TensorEntry[], where: string): number[] {
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
