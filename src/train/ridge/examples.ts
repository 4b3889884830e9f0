import { Random } from '../../base/random.js';
import type { Sequence } from '../../examples/encode.js';
import { type Batch, groupSequences, sharedOpening } from '../../model/batch.js';
import type { Model } from '../../model/model.js';
import type { Tokenizer } from '../../model/tokenizer.js';
import type { WalkedSequence } from '../../model/walker.js';
import type { TuneOptions } from '../options.js';
import type { PreparedData } from '../prepare.js';

/** What a sequence of the user's is used for: fitted, used to choose by, or only measured. */
export type Part = 'train' | 'validation' | 'heldout';
/** The same of all sequences: a general one is fitted to what the bare model makes of it. */
export type AnyPart = Part | 'general';

/** One example as the student and as the teacher read it. */
export interface RidgeExample {
  part: AnyPart;
  /** The whole rendered example. */
  student: WalkedSequence;
  /** What follows the prefix: the example without what the template puts before its first turn. Same positions, shifted. */
  teacher: WalkedSequence;
  /** Index of the prefix the teacher has in its context, -1 for none. */
  prefix: number;
  /** Tokens to be predicted at the positions. */
  targets: Int32Array;
}

/** Parts of the user's that the student walks through the layers; what is held out is only read by the teacher, as a yardstick. */
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

export interface Parts {
  train: readonly Sequence[];
  validation: readonly Sequence[];
  heldout: readonly Sequence[];
  general?: readonly Sequence[];
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
  const add = (sequence: Sequence, part: AnyPart, prefix: number) => {
    const { tokens } = sequence;
    const own = prefix >= 0 ? withoutOpening(tokens) : tokens;
    const cut = tokens.length - own.length;
    // The first token of a plain text follows the opening itself, which the teacher has read before the shots.
    const targets = sequence.targets.filter((position) => position > cut);
    const positions = targets.map((position) => position - 1);
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
  // Without shots the teacher is the bare model, to which the student is held there.
  for (const sequence of parts.general ?? []) add(sequence, 'general', -1);
  return { examples, prefixes };
}

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

/** Shots by default are as many as fit into this. */
const defaultShotTokens = 4096;
/** Share of the context that shots may fill. */
const contextShare = 0.75;

/**
 * What teacher and student read of a run's data: by default as many shots as the data and the context allow.
 * @param general examples on which the student is to stay what it is
 */
export async function planExamples(
  { model, tokenizer, data }: { model: Pick<Model, 'hyper'>; tokenizer: Tokenizer; data: PreparedData },
  options: Pick<TuneOptions, 'shots' | 'seed'>,
  preset: { shots: number },
  general: readonly Sequence[] = [],
): Promise<{ examples: RidgeExample[]; prefixes: Int32Array[]; shots: number[][] }> {
  const { contextLength } = model.hyper;
  const { train, validation, heldout } = data;
  const longest = [...train, ...validation, ...heldout].reduce((most, { tokens }) => Math.max(most, tokens.length), 0);
  const shotTokens = Math.min(Math.floor(contextShare * contextLength), contextLength - longest);
  const plan = planShots(train, {
    shots: options.shots ?? preset.shots,
    maxTokens: options.shots === undefined ? Math.min(shotTokens, defaultShotTokens) : shotTokens,
    seed: options.seed,
  });
  const opening = data.hasConversations ? await tokenizer.opening() : tokenizer.textOpening();
  return { ...buildExamples({ ...data, general }, plan, opening), shots: plan.prefixes };
}
