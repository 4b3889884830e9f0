import type { Sequence } from '../data/encodeExamples.js';
import { Random } from '../util/random.js';

/** Random stream of the choice of shots. */
const stream = 0x5407;

/** Which examples stand in the teacher's context, and which it explains with them. */
export interface ShotPlan {
  /** Indices of sequences that form each prefix, in order. */
  prefixes: number[][];
  /** Prefix of each training sequence, -1 for none. No sequence is in the prefix it is taught with. */
  prefixOf: number[];
}

/**
 * Splits the training sequences into two halves and lets shots drawn from each half teach the other, so that every example both
 * teaches and is learnt, and none is ever a shot for itself. Shots are drawn at random, as long as `maxTokens` are not exceeded. No
 * prefix is empty.
 */
export function planShots(
  sequences: readonly Sequence[],
  options: { shots: number; maxTokens: number; seed: number },
): ShotPlan {
  const none = { prefixes: [], prefixOf: sequences.map(() => -1) };
  if (options.shots === 0 || sequences.length < 2) return none;
  // Sequences of one example stay together, or an example would teach itself.
  const examples = new Random(options.seed, stream).shuffle([...new Set(sequences.map((s) => s.example))]);
  if (examples.length < 2) return none;
  const half = new Map(examples.map((example, i) => [example, i % 2]));
  const prefixes = [0, 1].map((side) => {
    const chosen: number[] = [];
    let tokens = 0;
    for (const example of examples) {
      if (half.get(example) === side) continue;
      const index = sequences.findIndex((s) => s.example === example);
      const length = sequences[index]!.tokens.length;
      if (chosen.length >= options.shots) break;
      if (tokens + length > options.maxTokens) continue;
      chosen.push(index);
      tokens += length;
    }
    return chosen;
  });
  // Where no example of a half fits, the other half is taught without shots.
  const used = prefixes.filter((shots) => shots.length > 0);
  return { prefixes: used, prefixOf: sequences.map((s) => used.indexOf(prefixes[half.get(s.example)!]!)) };
}
