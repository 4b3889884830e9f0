import { LoamError, quote } from '../../base/errors.js';
import { count } from '../../base/format.js';
import { type TensorType, tensorTypeById, tensorTypes } from '../../engine/tensorTypes.js';
import type { ByteReader } from './bytes.js';
import type { GgufTensor } from './Gguf.js';
import {
  alignUp,
  describeProblems,
  MAX_DIMS,
  MAX_KEY_BYTES,
  MAX_TENSOR_TABLE_BYTES,
  MAX_TENSORS,
  nameProblem,
  tensorBytes,
} from './rules.js';

/** The table of tensors: every entry is checked for itself, then their places against one another and the file. */

/** A tensor as its table entry places it. */
interface PlacedTensor {
  readonly name: string;
  readonly type: TensorType;
  readonly shape: readonly number[];
  /** Bytes from the start of the data section, unchecked. */
  readonly offset: bigint;
  /** Undefined if type or shape are wrong, which is reported elsewhere. */
  readonly bytes: number | undefined;
}

const endOf = (tensor: PlacedTensor): bigint => tensor.offset + BigInt(tensor.bytes ?? 0);

/** The tensors that begin before another one, which began no later, has ended; with that other one. */
function overlaps(tensors: readonly PlacedTensor[]): Map<PlacedTensor, PlacedTensor> {
  const found = new Map<PlacedTensor, PlacedTensor>();
  const order = [...tensors].sort((a, b) => (a.offset < b.offset ? -1 : a.offset > b.offset ? 1 : 0));
  let furthest: PlacedTensor | undefined;
  for (const tensor of order) {
    const end = furthest === undefined ? 0n : endOf(furthest);
    if (furthest !== undefined && tensor.offset < end) found.set(tensor, furthest);
    if (furthest === undefined || endOf(tensor) > end) furthest = tensor;
  }
  return found;
}

/**
 * Problems of the places of all tensors, in table order. Each must lie within the file, begin at a multiple of the
 * alignment, overlap no other, and (as gguf.cpp demands) follow the one before it in the table without a gap.
 * `dataOffset` and `size`: bytes in the file; `truncated`: the only problem is that the file is too short.
 */
export function checkLayout(
  tensors: readonly PlacedTensor[],
  dataOffset: number,
  alignment: number,
  size: number,
): { problems: string[]; truncated: boolean } {
  const problems: string[] = [];
  const overlapping = overlaps(tensors);
  const step = BigInt(alignment);
  let expected: bigint | undefined = 0n;
  for (const tensor of tensors) {
    const at = `tensor ${quote(tensor.name)} has offset ${count(tensor.offset)}`;
    const other = overlapping.get(tensor);
    if (tensor.offset % step !== 0n) {
      problems.push(`${at}, expected a multiple of ${alignment}`);
    } else if (other !== undefined) {
      problems.push(`${at}, which overlaps tensor ${quote(other.name)}`);
    } else if (expected !== undefined && tensor.offset !== expected) {
      problems.push(`${at}, expected ${count(expected)}, right after the tensor before`);
    }
    // Counting on from the tensor's own offset, one wrong offset gives one problem and not one for each tensor that follows.
    expected = tensor.bytes === undefined ? undefined : ((endOf(tensor) + step - 1n) / step) * step;
  }
  const room = BigInt(size) - BigInt(dataOffset);
  const beyond = tensors.filter((tensor) => endOf(tensor) > room);
  if (beyond.length === 0) return { problems, truncated: false };
  let missing = 0n;
  for (const tensor of beyond) if (endOf(tensor) - room > missing) missing = endOf(tensor) - room;
  const truncated = problems.length === 0;
  problems.push(
    `the file ends after ${count(size)} bytes, expected at least ${count(BigInt(size) + missing)} ` +
      `(${count(missing)} missing: ${count(beyond.length)} of ${count(tensors.length)} tensors, from ` +
      `${quote(beyond[0]!.name)} on, reach beyond its end)`,
  );
  return { problems, truncated };
}

/** What a tensor's entry must satisfy, for reader and writer alike. Each rule returns the problem as words to follow the tensor's name. */

/** Name length, one byte of name, number of dimensions, one dimension, type, offset. */
const SMALLEST_ENTRY = 8 + 1 + 4 + 8 + 4 + 8;

/** Type ids that ggml has withdrawn (the gaps of `enum ggml_type` in ggml.h). */
const withdrawn = new Map([
  [4, 'q4_2'],
  [5, 'q4_3'],
  [31, 'q4_0_4_4'],
  [32, 'q4_0_4_8'],
  [33, 'q4_0_8_8'],
  [36, 'iq4_nl_4_4'],
  [37, 'iq4_nl_4_8'],
  [38, 'iq4_nl_8_8'],
]);

/** Reads one entry; `tensor` is undefined if the table cannot be followed beyond it. */
async function readEntry(
  reader: ByteReader,
  index: number,
  names: Set<string>,
): Promise<{ tensor?: PlacedTensor; problems: string[] }> {
  const text = await reader.string(MAX_KEY_BYTES, `the name of tensor ${index}`);
  const name = text.value;
  const subject = `tensor ${quote(name)}`;
  const problems: string[] = [];
  const report = (problem: string): unknown => problems.push(`${subject} ${problem}`);
  const badName = nameProblem(text);
  if (badName !== undefined) report(badName);
  if (names.has(name)) report('is there twice');
  names.add(name);

  await reader.need(4, subject);
  const dims = reader.u32();
  if (dims > MAX_DIMS) {
    report(`has ${count(dims)} dimensions, expected 1 to ${MAX_DIMS}`);
    return { problems };
  }
  await reader.need(dims * 8 + 12, subject);
  const lengths = Array.from({ length: dims }, () => reader.u64());
  const id = reader.u32();
  const offset = reader.u64();
  const type = tensorTypeById(id);
  if (type === undefined) {
    const old = withdrawn.get(id);
    report(old === undefined ? `has the unknown type ${id}` : `has type ${old} (${id}), which ggml has withdrawn`);
  }
  const bytes = type === undefined ? undefined : tensorBytes(type, lengths);
  if (typeof bytes === 'string') report(bytes);
  const shape = lengths.map(Number);
  return {
    tensor: {
      name,
      type: type ?? tensorTypes.f32,
      shape,
      offset,
      bytes: typeof bytes === 'string' ? undefined : bytes,
    },
    problems,
  };
}

/**
 * Reads and checks the table of `tensors` entries. Everything wrong with it is collected and thrown as one LoamError, so that a damaged
 * file is understood at once.
 */
export async function readTensorTable(
  reader: ByteReader,
  tensors: bigint,
  alignment: number,
): Promise<Map<string, GgufTensor>> {
  const where = reader.path;
  if (tensors > MAX_TENSORS) {
    const expected = `at most ${count(MAX_TENSORS)}`;
    throw new LoamError({ code: 'too-large', found: `the header declares ${count(tensors)} tensors`, expected, where });
  }
  reader.startLimit(MAX_TENSOR_TABLE_BYTES, 'the tensor table');
  reader.require(Number(tensors) * SMALLEST_ENTRY, `the table of ${count(tensors)} tensors`);
  const placed: PlacedTensor[] = [];
  const problems: string[] = [];
  const names = new Set<string>();
  for (let i = 0; i < Number(tensors); i++) {
    const entry = await readEntry(reader, i, names);
    problems.push(...entry.problems);
    if (entry.tensor === undefined) {
      const unread = Number(tensors) - i - 1;
      return fail(reader, [...problems, `the ${count(unread)} tensors after it cannot be read`], false);
    }
    placed.push(entry.tensor);
  }
  const dataOffset = alignUp(reader.position, alignment);
  const layout = checkLayout(placed, dataOffset, alignment, reader.size);
  if (problems.length + layout.problems.length > 0) {
    fail(reader, [...problems, ...layout.problems], layout.truncated && problems.length === 0);
  }
  const table = new Map<string, GgufTensor>();
  for (const { name, type, shape, offset, bytes } of placed) {
    table.set(name, { name, type, shape, offset: dataOffset + Number(offset), bytes: bytes! });
  }
  return table;
}

function fail(reader: ByteReader, problems: readonly string[], truncated: boolean): never {
  const fix = truncated
    ? 'it is truncated or damaged: download or copy it again'
    : 'it is damaged or was written by faulty software: download or convert it again';
  throw new LoamError({
    code: 'damaged',
    found: describeProblems(problems, 'the tensor table'),
    where: reader.path,
    fix,
  });
}
