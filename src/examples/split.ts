import { createHash } from 'node:crypto';
import { UsageError } from '../base/errors.js';
import { count } from '../base/format.js';
import { Random } from '../base/random.js';
import { type Example, type Message, type Remark, textOf } from './example.js';

/** Which examples are the same, and which are learnt, held out or left out for it. */

/**
 * A text for comparing: Unicode NFC, case folded, white space runs as one space, none at the ends. Through upper
 * case, as lower case alone keeps ß and ς apart from ss and σ, and through lower case before, which turns the capital ẞ into ß;
 * composed again last, as changing case may take characters apart.
 */
export function normaliseText(text: string): string {
  return text.normalize('NFC').toLowerCase().toUpperCase().toLowerCase().normalize('NFC').replace(/\s+/g, ' ').trim();
}

/**
 * What the user says in an example, all turns, a line break between them; of a plain text all of it. Two examples with equal user text
 * are the same question: of a conversation the first turn alone ("Hi") would not tell. System messages do not count: the same question
 * under another system message still gives a held-out answer away.
 */
function userText({ messages }: Pick<Example, 'messages'>): string {
  return messages
    .filter(({ role }) => role === 'user' || role === 'text')
    .map(({ content }) => content)
    .join('\n');
}

/** A short stand-in for texts as map keys: 128 bits of their SHA-256, so that a map of a million texts stays small. */
export function textKey(texts: readonly string[]): string {
  const hash = createHash('sha256');
  // Short ones together: a conversation may have a hundred thousand.
  let held = '';
  for (const text of texts) {
    // The length first, so that ('ab', 'c') and ('a', 'bc') differ.
    held += `${text.length}:${text}`;
    if (held.length < 1 << 16) continue;
    hash.update(held);
    held = '';
  }
  hash.update(held);
  return hash.digest().toString('latin1', 0, 16);
}

/** Equal for examples whose user texts are the same but for case, white space and Unicode form. */
export function questionKey(example: Pick<Example, 'messages'>): string {
  return textKey([normaliseText(userText(example))]);
}

/** Characters of a paragraph that is compared with others. Shorter ones, such as rules and refrains, belong where they stand. */
const MIN_PARAGRAPH = 200;

/** Whether it is a short paragraph within a longer text, which may stand there again without being a repetition. */
function isPassing({ role, content, continues }: Message): boolean {
  return role === 'text' && continues !== undefined && content.length < MIN_PARAGRAPH;
}

/** Random stream of the split, so that another use of the same seed draws other numbers. */
const STREAM = 0x5911;

/** Below this many examples one is held out, whatever is asked for: each is needed for learning more than for measuring. */
const SMALL_SET = 10;

interface SplitOptions {
  /** Share of the examples to hold out, 0 to 0.5. 0 holds out none. */
  fraction?: number;
  seed: number;
  /** Held out even where `fraction` asks for fewer. */
  minValidation?: number;
}

interface Moved {
  example: Example;
  to: 'train' | 'validation';
  reason: 'its question stands there' | 'its question is asked too often to hold out';
}

interface Split {
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

/** All that an equal message has equal; for a plain one its content alone. */
function textsOf({ content, reasoning, calls }: Message): string[] {
  if (reasoning === undefined && calls === undefined) return [content];
  const made = calls?.map(({ name, arguments: given }) => ({ name, given }));
  return [content, JSON.stringify([reasoning ?? null, made ?? null])];
}
const toolTexts = (tools: Example['tools']) => (tools ? [JSON.stringify(tools)] : []);

/** Finds repeated records as a file is read, by exact text. */
export class Repeats {
  /** Line of the first record with this key. */
  private readonly whole = new Map<string, number>();
  private readonly questions = new Map<string, number>();

  /**
   * Notes one record. `duplicate`: an equal one came before. `conflict`: one came before with the same system and user texts
   * and other answers.
   */
  note({ messages, tools }: Pick<Example, 'messages' | 'tools'>, line: number): Remark | undefined {
    if (isPassing(messages[0]!)) return undefined;
    const whole = textKey([
      ...messages.flatMap((message) => [message.train === false ? 'context' : message.role, ...textsOf(message)]),
      ...toolTexts(tools),
    ]);
    const equal = this.whole.get(whole);
    if (equal !== undefined) {
      return { kind: 'duplicate', reason: `it repeats the record of line ${count(equal)} and is left out` };
    }
    this.whole.set(whole, line);
    const asked = messages.filter(({ role }) => role !== 'assistant');
    const question = textKey([...asked.flatMap(({ role, content }) => [role, content]), ...toolTexts(tools)]);
    const before = this.questions.get(question);
    if (before !== undefined) {
      return {
        kind: 'conflict',
        reason: `it asks the same as the record of line ${count(before)} and answers otherwise`,
      };
    }
    this.questions.set(question, line);
    return undefined;
  }
}

interface Overlap {
  example: Example;
  /** The held-out example that asks the same. */
  heldout: Example;
  /** Names files and lines, quotes no text. */
  reason: string;
}

/**
 * Takes out of `train` every example whose question or text is also held out, but for case, white space and Unicode form: a figure on
 * held-out data means nothing for what was trained on. Order is kept.
 */
export function removeOverlap(
  train: readonly Example[],
  heldout: readonly Example[],
): { train: Example[]; removed: Overlap[] } {
  const held = new Map<string, Example>();
  const compared = (example: Example) => !isPassing(example.messages[0]!);
  for (const example of heldout.filter(compared)) {
    const key = questionKey(example);
    if (!held.has(key)) held.set(key, example);
  }
  const kept: Example[] = [];
  const removed: Overlap[] = [];
  for (const example of train) {
    const same = compared(example) ? held.get(questionKey(example)) : undefined;
    if (same === undefined) {
      kept.push(example);
      continue;
    }
    const { file, line } = same.source;
    const how = textOf(example) ? 'is the same text' : 'asks the same';
    const reason = `line ${count(example.source.line)} ${how} as line ${count(line)} of the held-out file ${file}`;
    removed.push({ example, heldout: same, reason });
  }
  return { train: kept, removed };
}
