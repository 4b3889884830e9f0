import { UsageError } from '../util/errors.js';
import { Random } from '../util/random.js';
import { questionKey } from './questionKey.js';
import type { Example } from './types.js';

/** Random stream of the split, so that another use of the same seed draws other numbers. */
const STREAM = 0x5911;

/** Below this many examples one is held out, whatever is asked for: each is needed for learning more than for measuring. */
const SMALL_SET = 10;

export interface SplitOptions {
  /** Share of the examples to hold out, 0 to 0.5. 0 holds out none. */
  fraction?: number;
  seed: number;
  /** Held out even where `fraction` asks for fewer. */
  minValidation?: number;
}

export interface Moved {
  example: Example;
  to: 'train' | 'validation';
  reason: 'its question stands there' | 'its question is asked too often to hold out';
}

export interface Split {
  /** In the order given. */
  train: Example[];
  validation: Example[];
  /** Examples that stand where they do because others ask the same, in the order drawn. */
  moved: Moved[];
  /** What the caller should tell the user about a small or empty validation set; a clause without full stop. */
  remark?: string;
}

function check({ fraction, minValidation }: { fraction: number; minValidation: number }): void {
  if (!(fraction >= 0 && fraction <= 0.5)) {
    throw new UsageError({ found: `a validation share of ${fraction}`, expected: 'a number from 0 to 0.5' });
  }
  if (!Number.isInteger(minValidation) || minValidation < 0) {
    throw new UsageError({ found: `at least ${minValidation} validation examples`, expected: 'a whole number from 0' });
  }
}

/** How many to hold out: the share, at least `minValidation`, at most half; one of a small set. */
function goal(examples: number, fraction: number, minValidation: number): number {
  if (fraction === 0 || examples < 2) return 0;
  if (examples < SMALL_SET) return 1;
  return Math.min(Math.max(Math.round(examples * fraction), minValidation, 1), Math.floor(examples / 2));
}

/**
 * Holds out examples for validation. The same examples, seed and options give the same split on every device. Examples that ask
 * the same (`questionKey`) stay together: drawing one for validation takes the others along, unless they are too many for what is
 * still to be held out; then all stay in training. Where that leaves nothing to hold out, the question asked least often is held
 * out all the same, if it makes up no more than half.
 *
 * Small sets: of 1 example, or of 1 question, nothing is held out; of 2 to 9 examples one is, and no more, as long as its question
 * is asked once; above, never more than half.
 * @throws UsageError when an option is out of range
 */
export function splitExamples(
  examples: readonly Example[],
  { fraction = 0.1, seed, minValidation = 2 }: SplitOptions,
): Split {
  check({ fraction, minValidation });
  const groups = new Map<string, number[]>();
  const groupOf = examples.map((example, i) => {
    const key = questionKey(example);
    const group = groups.get(key) ?? [];
    group.push(i);
    groups.set(key, group);
    return group;
  });
  const wanted = goal(examples.length, fraction, minValidation);
  const order = new Random(seed, STREAM).shuffle(examples.map((_, i) => i));
  const held = new Set<number>();
  const moved: Moved[] = [];
  const hold = (drawn: number) => {
    for (const i of groupOf[drawn]!) {
      held.add(i);
      if (i !== drawn) moved.push({ example: examples[i]!, to: 'validation', reason: 'its question stands there' });
    }
  };
  const tooLarge = new Set<number[]>();
  for (const drawn of order) {
    if (held.size >= wanted) break;
    const group = groupOf[drawn]!;
    if (held.has(drawn)) continue;
    if (held.size + group.length > wanted) tooLarge.add(group);
    else hold(drawn);
  }
  if (held.size === 0 && wanted > 0 && examples.length >= SMALL_SET) {
    const fits = order.filter((i) => groupOf[i]!.length <= examples.length / 2);
    const least = fits.reduce((a, b) => (groupOf[b]!.length < groupOf[a]!.length ? b : a), fits[0] ?? -1);
    if (least >= 0) hold(least);
  }
  for (const group of tooLarge) {
    if (held.has(group[0]!)) continue;
    const reason = 'its question is asked too often to hold out';
    for (const i of group) moved.push({ example: examples[i]!, to: 'train', reason });
  }
  const train = examples.filter((_, i) => !held.has(i));
  const validation = examples.filter((_, i) => held.has(i));
  const remark = fraction === 0 ? undefined : remarkOn(validation.length, examples.length, groups.size);
  return { train, validation, moved, ...(remark === undefined ? {} : { remark }) };
}

function remarkOn(held: number, examples: number, questions: number): string | undefined {
  if (examples === 0) return 'there are no examples';
  if (held === 0 && examples === 1) return 'with 1 example none is held out, so nothing measures what was learnt';
  if (held === 0) {
    const only = questions === 1 ? 'all examples ask the same' : 'every question is asked too often to hold out';
    return `${only}, so nothing measures what was learnt`;
  }
  if (held < 4)
    return `only ${held} of ${examples} examples ${held === 1 ? 'is' : 'are'} held out, so measured losses are rough`;
  return undefined;
}
