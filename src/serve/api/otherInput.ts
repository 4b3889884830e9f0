import { UsageError } from '../../base/errors.js';
import type { AnswerRequest } from '../answering.js';
import { unserved } from './fields.js';
import { type ChatInput, chatRequestOf } from './openaiInput.js';

/** What the APIs beside OpenAI's chat share: they become requests of that. */

/** A part of a type that is not served, or without what its type says. */
export function wrongPart(type: string, where: string): UsageError {
  return unserved(
    `a part of type "${type.slice(0, 40)}" that is not served, or not whole`,
    where,
    'send texts and calls of tools only',
  );
}

/** A request of another API as one of OpenAI's chat. */
export interface Translated {
  input: ChatInput;
  /** Where each of its messages stands in the request as it came. */
  places: readonly string[];
  /** Names of fields of the chat, and what they are called in that API. */
  names: readonly (readonly [chat: RegExp, own: string])[];
}

/** What an answer is made from. @throws UsageError that names what is not served, by its place in the request as it came */
export function requestOf({ input, places, names }: Translated): AnswerRequest {
  try {
    return chatRequestOf(input);
  } catch (error) {
    if (!(error instanceof UsageError) || error.fault.where === undefined) throw error;
    const placed = error.fault.where.replace(
      /^messages\[(\d+)\]/,
      (whole: string, at: string) => places[Number(at)] ?? whole,
    );
    const where = names.reduce((text, [chat, own]) => text.replace(chat, own), placed);
    throw new UsageError({ ...error.fault, where }, { cause: error });
  }
}
