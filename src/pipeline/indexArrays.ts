import type { NamedArrayToWrite } from '../formats/dtypes.js';
import { ndArray } from '../formats/ndArray.js';
import { groupExamples, type RidgeExample } from '../ridge/examples.js';

/** Parts as the array `split` numbers them. */
export const splitParts = ['train', 'validation'] as const;

/**
 * The arrays that tell what the rows of activations are, of examples that the student walks:
 *
 * - `tokens` i32, all sequences one after another, and `offsets` i64 [sequences + 1], where each begins;
 * - `example` i32, `split` u8 and `prefix` i32 [sequences]: the record of the user's file, 0 training or 1 validation, and which shots
 *   the teacher has before it (-1: none);
 * - `row_sequence`, `row_position` and `row_target` i32 [rows]: which sequence a row is of, the position whose activations it holds,
 *   and the token to be predicted there. Rows lie in the order in which batches are walked.
 *
 * @param records number of each example's record in the user's file
 */
export function indexArrays(examples: readonly RidgeExample[], records: readonly number[]): NamedArrayToWrite[] {
  const offsets = new BigInt64Array(examples.length + 1);
  for (const [i, { student }] of examples.entries()) offsets[i + 1] = offsets[i]! + BigInt(student.tokens.length);
  const tokens = new Int32Array(Number(offsets.at(-1)));
  for (const [i, { student }] of examples.entries()) tokens.set(student.tokens, Number(offsets[i]));
  const { sequence, position, target } = rowOrder(examples);
  const arrays = {
    tokens,
    offsets,
    example: Int32Array.from(records),
    split: Uint8Array.from(examples, ({ part }) => (splitParts as readonly string[]).indexOf(part)),
    prefix: Int32Array.from(examples, ({ prefix }) => prefix),
    row_sequence: sequence,
    row_position: position,
    row_target: target,
  };
  return Object.entries(arrays).map(([name, values]) => ({ name, ...ndArray(values) }));
}

/** The rows in the order in which the student's batches hold them. */
export function rowOrder(examples: readonly RidgeExample[]) {
  const rows: [number, number, number][] = [];
  for (const { members } of groupExamples(examples).student) {
    for (const member of members) {
      const { student, targets } = examples[member]!;
      student.positions.forEach((at, i) => {
        rows.push([member, at, targets[i]!]);
      });
    }
  }
  const column = (i: 0 | 1 | 2) => Int32Array.from(rows, (row) => row[i]);
  return { sequence: column(0), position: column(1), target: column(2) };
}
