import { count } from '../base/format.js';
import type { Tokenizer } from '../model/tokenizer.js';
import { type Example, type Message, textOf } from './example.js';
import { Pace } from './source.js';

/**
 * Texts laid out for learning. Paragraphs of one text that stand together become one example, as long as a sequence may be; a text that
 * is longer by itself is divided: between paragraphs, at the end of a sentence, of a word, or within one that is longer still. Nothing
 * is cut away.
 */

interface PackedTexts {
  /** Conversations as they were, in their places; instead of texts, what is learnt at once. */
  examples: Example[];
  /** Records that were longer than the limit by themselves. */
  divided: Example[];
  /** What to tell of those; a clause without full stop. */
  remark?: string;
}

/**
 * A short text is laid out in shorter pieces, so that there are this many of them: to hold some out, and to take some steps, each of
 * which takes a few examples, whatever their length.
 */
const WANTED_PIECES = 32;
/** Tokens that give enough of a context all the same. */
const LEAST_PIECE = 256;
/** Tokens that begin and end a text. */
const FRAME = 2;

/** @param options.maxTokens of a sequence, with the tokens that begin and end a text */
export async function packTexts(
  tokenizer: Tokenizer,
  examples: readonly Example[],
  { maxTokens, signal }: { maxTokens: number; signal?: AbortSignal },
): Promise<PackedTexts> {
  const pace = new Pace(signal);
  const measure = { most: maxTokens - FRAME, sizeOf: (text: string) => tokenizer.vocabulary.tokenize(text).length };
  const sizes: number[] = [];
  for (const example of examples) {
    const text = textOf(example);
    sizes.push(text === undefined ? 0 : measure.sizeOf(whole(text)));
    if (pace.due) await pace.rest();
  }
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const wanted = Math.min(measure.most, Math.max(LEAST_PIECE, Math.ceil(total / WANTED_PIECES)));
  const packed: PackedTexts = { examples: [], divided: [] };
  let open: Example[] = [];
  let size = 0;
  const close = () => {
    if (open.length > 0) packed.examples.push(...join(open, measure));
    [open, size] = [[], 0];
  };
  for (const [i, example] of examples.entries()) {
    if (size + sizes[i]! > wanted || !goesOnWith(open.at(-1), example)) close();
    const text = textOf(example);
    if (text === undefined) packed.examples.push(example);
    else if (sizes[i]! > measure.most) {
      packed.divided.push(example);
      for (const part of divide(text, measure)) packed.examples.push({ ...example, messages: [part] });
    } else {
      open.push(example);
      size += sizes[i]!;
    }
    if (pace.due) await pace.rest();
  }
  close();
  if (packed.divided.length > 0) {
    const many = packed.divided.length === 1 ? '1 text is' : `${count(packed.divided.length)} texts are`;
    packed.remark = `${many} longer than ${count(maxTokens)} tokens and read in parts (${recordList(packed.divided)})`;
  }
  return packed;
}

/** The first records of a list, by number. */
export function recordList(examples: readonly Example[]): string {
  const records = examples.slice(0, 5).map(({ source }) => count(source.index + 1));
  return `record ${records.join(', ')}${examples.length > 5 ? ' ...' : ''}`;
}

interface Measure {
  /** Tokens that a text may have. */
  most: number;
  sizeOf: (text: string) => number;
}

/** Whether the text goes on in the next record, and that is `next`: what is left out between two parts them. */
export function goesOnWith(example: Example | undefined, next: Example): boolean {
  if (example === undefined || textOf(next) === undefined || textOf(example)!.continues === undefined) return false;
  return next.source.file === example.source.file && next.source.index === example.source.index + 1;
}

/** Neighbours as one example. */
function join(members: readonly Example[], measure: Measure): Example[] {
  if (members.length === 1) return [...members];
  const texts = members.map((member) => textOf(member)!);
  const { continues } = texts.at(-1)!;
  const message = textMessage(texts.slice(0, -1).map(whole).join('') + texts.at(-1)!.content, continues);
  if (measure.sizeOf(whole(message)) <= measure.most) return [{ ...members[0]!, messages: [message] }];
  // Together they have more tokens than one by one.
  const half = members.length >> 1;
  return [...join(members.slice(0, half), measure), ...join(members.slice(half), measure)];
}

/** With the white space that follows, which is learnt too. */
export function whole({ content, continues = '' }: Message): string {
  return content + continues;
}

function textMessage(content: string, continues: string | undefined): Message {
  return { role: 'text', content, ...(continues !== undefined && { continues }) };
}

// Of one language, whatever the system speaks: what is learnt must not depend on it.
const sentences = new Intl.Segmenter('en', { granularity: 'sentence' });
const characters = new Intl.Segmenter('en', { granularity: 'grapheme' });
/** Ways to take a text apart, the gentlest first. */
const CUTS: readonly ((text: string) => string[])[] = [
  (text) => text.split(/(?<=\n\s*\n)(?=\S)/),
  (text) => Array.from(sentences.segment(text), ({ segment }) => segment),
  (text) => text.split(/(?<=\s)(?=\S)/),
  (text) => Array.from(characters.segment(text), ({ segment }) => segment),
];

function divide(text: Message, measure: Measure): Message[] {
  const parts: string[] = [];
  let size = 0;
  for (const unit of units(whole(text), measure, 0)) {
    const own = measure.sizeOf(unit);
    const more = (parts.at(-1) ?? '') + unit;
    if (
      parts.length > 0 &&
      size + own <= measure.most &&
      (size + own < SURE * measure.most || measure.sizeOf(more) <= measure.most)
    ) {
      parts[parts.length - 1] = more;
      size += own;
    } else {
      parts.push(unit);
      size = own;
    }
  }
  const open = (i: number) => i < parts.length - 1 || text.continues !== undefined;
  return parts.map((part, i) => textMessage(part, open(i) ? '' : undefined));
}

/** Below this share of the limit the tokens of joined units need not be counted anew: they are about the sum of each one's. */
const SURE = 0.9;

/** What a text is divided into by the gentlest way; of a unit that does not fit, what the next way makes of it. */
function* units(text: string, measure: Measure, way: number): Generator<string, void> {
  for (const unit of CUTS[way]!(text)) {
    if (way === CUTS.length - 1 || measure.sizeOf(unit) <= measure.most) yield unit;
    else yield* units(unit, measure, way + 1);
  }
}
