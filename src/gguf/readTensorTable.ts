import { tensorTypeById, tensorTypes } from '../ggml/tensorTypes.js';
import { LoamError } from '../util/errors.js';
import { count } from '../util/format.js';
import { quote } from '../util/quote.js';
import { alignUp } from './alignUp.js';
import type { ByteReader } from './ByteReader.js';
import { checkLayout, type PlacedTensor } from './checkLayout.js';
import type { GgufTensor } from './Gguf.js';
import { MAX_DIMS, MAX_KEY_BYTES, MAX_TENSOR_TABLE_BYTES, MAX_TENSORS } from './limits.js';
import { describeProblems } from './problems.js';
import { readText } from './readValue.js';
import { nameProblem, tensorBytes } from './tensorRules.js';

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

/** Reads one entry; undefined `tensor` where the table cannot be followed beyond it. */
async function readEntry(
  reader: ByteReader,
  index: number,
  names: Set<string>,
): Promise<{ tensor?: PlacedTensor; problems: string[] }> {
  const text = await readText(reader, MAX_KEY_BYTES, `the name of tensor ${index}`);
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
 * Reads and checks the table of `tensors` entries, which ends where the data section may begin. Everything that is wrong
 * with the table is collected and thrown as one LoamError, so that a damaged file is understood at once.
 */
export async function readTensorTable(
  reader: ByteReader,
  tensors: bigint,
  alignment: number,
): Promise<{ tensors: Map<string, GgufTensor>; dataOffset: number }> {
  const where = reader.path;
  if (tensors > MAX_TENSORS) {
    const expected = `at most ${count(MAX_TENSORS)}`;
    throw new LoamError({ found: `the header declares ${count(tensors)} tensors`, expected, where });
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
  return { tensors: table, dataOffset };
}

function fail(reader: ByteReader, problems: readonly string[], truncated: boolean): never {
  const fix = truncated
    ? 'it is truncated or damaged: download or copy it again'
    : 'it is damaged or was written by faulty software: download or convert it again';
  throw new LoamError({ found: describeProblems(problems, 'the tensor table'), where: reader.path, fix });
}
