import type { TensorType } from '../ggml/tensorTypes.js';
import { count } from '../util/format.js';
import { quote } from '../util/quote.js';

/** A tensor as its table entry places it. */
export interface PlacedTensor {
  readonly name: string;
  readonly type: TensorType;
  readonly shape: readonly number[];
  /** Bytes from the start of the data section, unchecked. */
  readonly offset: bigint;
  /** Undefined where type or shape are wrong, which is reported elsewhere. */
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
    // Counting on from where the tensor is, one wrong offset gives one problem and not one for each that follows.
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
