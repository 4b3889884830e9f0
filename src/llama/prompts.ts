import { UnsupportedError, UsageError } from '../base/errors.js';
import type { Grammar } from '../engine/HeldAnswer.js';
import type { Vocabulary } from '../engine/vocabulary.js';
import { anyOf, objectGrammar, schemaGrammar } from '../model/grammar/index.js';
import type { ChatMessage, Tool } from '../model/message.js';
import type { Tokenizer } from '../model/tokenizer.js';
import { type ToolChoice, toolGrammar } from '../model/toolForms/grammar.js';
import type { Expected } from './AnswerReader.js';
import type { AnswerOptions } from './ChatSession.js';
import { tokensOf } from './reading.js';

/** What is put before a model, and what its answer may consist of. */

/** A text to go on with, as such or in tokens; or what stands before and behind what is to be written. */
export type TextPrompt = string | { tokens: readonly number[] } | { before: string; after: string };

/**
 * The tokens of a text to go on with. It is the client's, control tokens and all.
 * @returns `given`: how many of them were put before the text
 */
export function promptOf(vocabulary: Vocabulary, text: TextPrompt): { prompt: Int32Array; given: number } {
  const { bos, eos, fill } = vocabulary;
  const bosText = bos >= 0 ? vocabulary.text([bos], true) : '';
  const tokenize = (one: string, first: boolean) => {
    const begins = bosText !== '' && one.startsWith(bosText);
    return vocabulary.tokenize(one, { special: true, bos: first && !begins });
  };
  if (typeof text === 'object' && 'before' in text) {
    if (!fill) {
      const found = '"suffix" is not served by this model, which has no marks for filling in the middle';
      throw new UnsupportedError({ found, fix: 'leave it out' });
    }
    const parts = [
      fill.prefix,
      ...tokenize(text.before, false),
      fill.suffix,
      ...tokenize(text.after, false),
      fill.middle,
    ];
    const prompt = Int32Array.from(vocabulary.addsBos && bos >= 0 ? [bos, ...parts] : parts);
    return { prompt, given: 0 };
  }
  const tokens = typeof text === 'string' ? tokenize(text, true) : tokensOf(vocabulary, text.tokens, 'prompt');
  // Something must be read before a first token can be drawn.
  if (tokens.length === 0) return { prompt: Int32Array.of(bos >= 0 ? bos : Math.max(0, eos)), given: 1 };
  const isOurs = typeof text === 'string' && tokens[0] === bos && !text.startsWith(bosText);
  return { prompt: tokens, given: isOurs ? 1 : 0 };
}

/** What an answer to a conversation may be. */
export interface AnswerPlan extends Expected {
  grammar: Grammar | undefined;
  /** What the template is told. */
  thinking: boolean | undefined;
  tools: readonly Tool[] | undefined;
  /** What stands of the answer already. */
  begun: Int32Array | undefined;
}

const AS_THE_MODEL_LIKES: ToolChoice = { choice: 'auto', several: true };

/** @throws UsageError, UnsupportedError that name what is not served */
export async function planAnswer(
  { vocabulary, template, thinking: usual }: Tokenizer,
  messages: readonly ChatMessage[],
  options: AnswerOptions,
): Promise<AnswerPlan> {
  const { stop = [], format, calls = AS_THE_MODEL_LIKES, show = {} } = options;
  const tools = calls.choice === 'none' || !options.tools?.length ? undefined : options.tools;
  const isForced = tools !== undefined && calls.choice !== 'auto';
  if (calls.choice !== 'none' && calls.choice !== 'auto' && !tools) {
    throw new UsageError({ found: 'a call is demanded, and there are no tools', where: 'tool_choice' });
  }
  const begun = beginning(vocabulary, messages);
  let thinking = options.thinking ?? usual;
  // A thought is no JSON, and one that is begun already has its text.
  if (options.thinking === undefined && template.knowsThoughts && (format || isForced || begun)) thinking = false;
  // A template that knows none may have learnt them as texts, and cannot be told to leave them out.
  const isAsked = thinking !== false || !template.knowsThoughts;
  const afterThought = thinking === true && template.knowsThoughts;
  const first = afterThought && (format || isForced) ? 'begun' : 'may';
  const thought = isAsked && (show.thoughts || tools) ? first : 'no';
  const form = tools && (await template.toolUse()).form;
  if (!form) return { stop, thought, thinking, tools, begun, grammar: formatGrammar(format, afterThought, begun) };
  // An answer that calls has no other content that could be of a form.
  const either = isForced ? undefined : format;
  const source = either
    ? anyOf([
        formatSource(either, afterThought),
        toolGrammar(form, tools!, { ...calls, choice: 'required' }, afterThought),
      ])
    : toolGrammar(form, tools!, calls, isForced && afterThought);
  const all = form.stop === undefined ? stop : [...stop, form.stop];
  const isEither = either !== undefined;
  return { stop: all, thought, form, isEither, thinking, tools, begun, grammar: { source, controls: true, begun } };
}

/** The text of the last message, if it is the assistant's. */
function beginning(vocabulary: Vocabulary, messages: readonly ChatMessage[]): Int32Array | undefined {
  const last = messages.at(-1);
  if (last?.role !== 'assistant') return undefined;
  if (last.calls?.length || last.reasoning) {
    const found = 'an answer to go on with that has a thought or calls of tools';
    throw new UnsupportedError({ found, where: 'messages', fix: 'leave them out of the last message' });
  }
  return vocabulary.tokenize(last.content);
}

/** JSON as the whole answer. */
export function formatGrammar(
  format: AnswerOptions['format'],
  afterThought = false,
  begun?: Int32Array,
): Grammar | undefined {
  if (format === undefined) return undefined;
  return { source: formatSource(format, afterThought), controls: afterThought, begun };
}

function formatSource(format: NonNullable<AnswerOptions['format']>, afterThought: boolean): string {
  if (format === 'json') return objectGrammar(afterThought);
  return schemaGrammar(format.schema, { where: format.where, afterThought });
}

/** Whether a prompt ends with the mark that begins a thought. */
export function opensThought({ vocabulary }: Tokenizer, prompt: Int32Array): boolean {
  return /<think>\s*$/.test(vocabulary.text(prompt.slice(-8), true));
}
