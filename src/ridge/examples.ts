import { type Batch, groupSequences } from '../model/batch.js';
import { sharedOpening } from '../model/sharedOpening.js';
import type { WalkedSequence } from '../model/walker.js';

/** What a sequence is used for: fitted, used to choose by, or only measured. */
export type Part = 'train' | 'validation' | 'heldout';

/** One example as the student and as the teacher read it. */
export interface RidgeExample {
  part: Part;
  /** The whole rendered example. */
  student: WalkedSequence;
  /** What follows the prefix: the example without what the template puts before its first turn. Same positions, shifted. */
  teacher: WalkedSequence;
  /** Index of the prefix the teacher has in its context, -1 for none. */
  prefix: number;
  /** Tokens to be predicted at the positions. */
  targets: Int32Array;
}

/** Parts that the student walks through the layers; what is held out is only read by the teacher, as a yardstick. */
export type LearntPart = Exclude<Part, 'heldout'>;

/** What is computed together. */
export interface Groups {
  /** Tokens that all of the student's sequences begin with. Its batches are of what follows them. */
  opening: number;
  student: Batch[];
  teacher: Batch[];
}

/**
 * Batches in which every example has the same part and prefix, for the student and, with the same members at the same index, for the
 * teacher, who has those held out after them.
 */
export function groupExamples(examples: readonly RidgeExample[]): Groups {
  const opening = sharedOpening(
    examples.map(({ student }) => ({ tokens: student.tokens, targets: student.positions.map((at) => at + 1) })),
  );
  const buckets = new Map<string, number[]>();
  examples.forEach(({ part, prefix }, i) => {
    const key = `${part} ${prefix}`;
    const bucket = buckets.get(key) ?? [];
    bucket.push(i);
    buckets.set(key, bucket);
  });
  const heldout = ([first]: number[]) => examples[first!]!.part === 'heldout';
  const lists = [...buckets.values()];
  const all = [...lists.filter((list) => !heldout(list)), ...lists.filter(heldout)].flatMap((indices) =>
    groupSequences(indices.map((i) => examples[i]!.student.tokens.length - opening)).map((batch) => ({
      ...batch,
      members: batch.members.map((i) => indices[i]!),
    })),
  );
  const teacher = all.map(({ members }) => {
    const lengths = members.map((i) => examples[i]!.teacher.tokens.length);
    return { members, lengths, length: Math.max(...lengths) };
  });
  return { opening, student: all.filter(({ members }) => !heldout([...members])), teacher };
}
