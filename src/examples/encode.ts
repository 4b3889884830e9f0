import { type ErrorCode, LoamError, throwIfStopped } from '../base/errors.js';
import type { EncodedConversation, Tokenizer } from '../model/tokenizer.js';
import { type Example, isConversation, type Problem, textOf } from './example.js';
import { whole } from './pack.js';
import { Pace } from './source.js';

/** Examples as token sequences, and their lengths. */

/** One token sequence of an example, ready to compute with. */
export interface Sequence {
  tokens: Int32Array;
  /** Positions of the tokens to be learnt, ascending; each is predicted from the position before it, so none is 0. */
  targets: Int32Array;
  /** Index of the example in the list that was encoded. */
  example: number;
}

export interface EncodedExamples {
  sequences: Sequence[];
  /**
   * Examples longer than the limit, which are left out whole: a cut answer would teach the model to stop in mid-sentence. No texts that
   * `packTexts` has laid out.
   */
  tooLong: { example: number; tokens: number }[];
  /** Examples that the chat template or the tokeniser refuses, and why; they are left out, and the rest is used. */
  refused: Problem[];
  /** What the chat template has no way of its own for, and how it is learnt; clauses without full stop. */
  remarks: string[];
}

/** Codes of failures that are about one example: another one may do. */
const ABOUT_EXAMPLE: ReadonlySet<ErrorCode> = new Set(['template', 'invalid-data']);

export function isAboutExample(error: unknown): error is LoamError {
  return error instanceof LoamError && ABOUT_EXAMPLE.has(error.code);
}

/** Examples as tokens: conversations rendered with the model's own template, texts as they are. */
export async function encodeExamples(
  tokenizer: Tokenizer,
  examples: readonly Example[],
  { maxTokens, signal }: { maxTokens: number; signal?: AbortSignal },
): Promise<EncodedExamples> {
  const sequences: Sequence[] = [];
  const tooLong: EncodedExamples['tooLong'] = [];
  const refused: EncodedExamples['refused'] = [];
  let failure: LoamError | undefined;
  const pace = new Pace(signal);
  for (const [index, example] of examples.entries()) {
    throwIfStopped(signal);
    let encoded: EncodedConversation[];
    try {
      encoded = await encodeExample(tokenizer, example);
    } catch (error) {
      if (!isAboutExample(error)) throw error;
      failure ??= error;
      const { index: record, line } = example.source;
      refused.push({ severity: 'error', kind: 'template', index: record, line, reason: error.fault.found });
      continue;
    }
    const longest = encoded.reduce((max, { tokens }) => Math.max(max, tokens.length), 0);
    if (longest > maxTokens) {
      tooLong.push({ example: index, tokens: longest });
      continue;
    }
    for (const { tokens, trained } of encoded) {
      const targets = Int32Array.from(trained.keys()).filter((position) => trained[position] === 1 && position > 0);
      if (targets.length > 0) sequences.push({ tokens, targets, example: index });
    }
    if (pace.due) await pace.rest();
  }
  // None of them: it is the model's.
  if (failure && refused.length === examples.length) throw failure;
  return { sequences, tooLong, refused, remarks: await remarksOn(tokenizer, examples) };
}

async function remarksOn({ template }: Tokenizer, examples: readonly Example[]): Promise<string[]> {
  const remarks: string[] = [];
  const messages = examples.flatMap((example) => example.messages);
  if (examples.some(({ tools }) => tools) || messages.some(({ role, calls }) => role === 'tool' || calls)) {
    const { writes, form, tools } = await template.toolUse();
    if (writes === 'nothing') {
      remarks.push(
        `the model's chat template knows no tools that Loam can read: the system message describes them, and calls are JSON after ${form.begin}`,
      );
    } else if (writes === 'tools') {
      remarks.push(`the model's chat template lists tools and writes no calls: they are written behind ${form.begin}`);
    } else if (tools === 'text') {
      remarks.push("the model's chat template writes calls and lists no tools: the system message describes them");
    }
  }
  if (!template.knowsThoughts && messages.some(({ reasoning }) => reasoning !== undefined)) {
    remarks.push("the model's chat template knows no thoughts: they are learnt as text between <think> and </think>");
  }
  return remarks;
}

async function encodeExample(tokenizer: Tokenizer, example: Example): Promise<EncodedConversation[]> {
  if (isConversation(example)) return await tokenizer.encode(example.messages, example);
  const text = textOf(example)!;
  return [tokenizer.encodeText(whole(text), text.continues === undefined)];
}

/** What to do about examples that are too long: the limit is the user's, or what the model was trained to read. */
export function limitAdvice(maxTokens: number, contextLength: number): string {
  return maxTokens < contextLength ? 'raise --max-tokens' : 'use a model with a longer context';
}

interface Bucket {
  /** First integer of the bucket. */
  from: number;
  /** First integer behind it. */
  to: number;
  count: number;
}

/** The least of 1, 2, 5, 10, 20, 50, ... that is at least `width`. */
function roundWidth(width: number): number {
  for (let power = 1; ; power *= 10) for (const step of [1, 2, 5]) if (step * power >= width) return step * power;
}

/**
 * Counts lengths in at most `buckets` ranges of equal, round width that start at a multiple of it; empty ranges between are kept.
 * @param lengths integers >= 0 (tokens, characters)
 * @throws RangeError for other numbers, or fewer than 2 buckets
 */
export function histogram(lengths: readonly number[], buckets = 10): Bucket[] {
  if (!Number.isInteger(buckets) || buckets < 2) throw new RangeError(`${buckets} buckets, expected at least 2`);
  let least = Number.POSITIVE_INFINITY;
  let most = Number.NEGATIVE_INFINITY;
  for (const length of lengths) {
    if (!Number.isSafeInteger(length) || length < 0) throw new RangeError(`length ${length}, expected an integer >= 0`);
    least = Math.min(least, length);
    most = Math.max(most, length);
  }
  if (lengths.length === 0) return [];
  // Starting at a multiple of the width may take one range more than the width alone asks for.
  const ranges = (width: number) => Math.floor(most / width) - Math.floor(least / width) + 1;
  let width = roundWidth((most - least + 1) / buckets);
  while (ranges(width) > buckets) width = roundWidth(width + 1);
  const first = Math.floor(least / width);
  const out = Array.from({ length: ranges(width) }, (_, i) => ({
    from: (first + i) * width,
    to: (first + i + 1) * width,
    count: 0,
  }));
  for (const length of lengths) out[Math.floor(length / width) - first]!.count++;
  return out;
}
