import type { Sequence } from '../data/encodeExamples.js';
import type { Part, RidgeExample } from './examples.js';
import type { ShotPlan } from './shots.js';

export interface Parts {
  train: readonly Sequence[];
  validation: readonly Sequence[];
  heldout: readonly Sequence[];
}

/**
 * Lays examples out for teacher and student. A chat template begins every conversation with the same tokens (its default system
 * message, the token that begins a text): `opening`. In the teacher's context they stand once, at the very beginning, as in one long
 * conversation; repeating them before every shot makes the teacher much worse.
 */
export function buildExamples(
  parts: Parts,
  plan: ShotPlan,
  opening: Int32Array,
): { examples: RidgeExample[]; prefixes: Int32Array[] } {
  const withoutOpening = (tokens: Int32Array) =>
    opening.every((token, i) => tokens[i] === token) ? tokens.subarray(opening.length) : tokens;
  const prefixes = plan.prefixes.map((shots) =>
    Int32Array.from([...opening, ...shots.flatMap((shot) => [...withoutOpening(parts.train[shot]!.tokens)])]),
  );
  const examples: RidgeExample[] = [];
  const add = (sequence: Sequence, part: Part, prefix: number) => {
    const { tokens, targets } = sequence;
    const positions = targets.map((position) => position - 1);
    const own = prefix >= 0 ? withoutOpening(tokens) : tokens;
    const cut = tokens.length - own.length;
    examples.push({
      part,
      prefix,
      student: { tokens, positions },
      teacher: { tokens: own, positions: positions.map((position) => position - cut) },
      targets: targets.map((position) => tokens[position]!),
    });
  };
  const any = plan.prefixes.length > 0 ? 0 : -1;
  parts.train.forEach((sequence, i) => {
    add(sequence, 'train', plan.prefixOf[i]!);
  });
  for (const sequence of parts.validation) add(sequence, 'validation', any);
  for (const sequence of parts.heldout) add(sequence, 'heldout', any);
  return { examples, prefixes };
}
