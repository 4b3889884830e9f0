import { UsageError } from '../../base/errors.js';
import type { AnswerRequest } from '../answering.js';
import { type ChatInput, chatRequestOf } from './openaiInput.js';

/** What the APIs beside OpenAI's chat share in refusing: every field of a request and of its parts works, changes nothing, or is named. */

/** Values of a field that change nothing. */
export type Neutral = Record<string, (value: unknown) => boolean>;

export const anything = () => true;
/** Only null. */
export const nothing = () => false;
export const isEmpty = (value: unknown) =>
  typeof value === 'object' && value !== null && Object.keys(value).length === 0;

/**
 * @param known names of fields that work
 * @param where what the fields are of, for the error; undefined: the request
 * @throws UsageError that names a field without which the answer would be another
 */
export function refuseOthers(
  fields: object,
  { known, neutral, where }: { known: readonly string[]; neutral?: Neutral; where?: string },
): void {
  for (const [name, value] of Object.entries(fields)) {
    if (known.includes(name) || value === undefined || value === null) continue;
    if (neutral && Object.hasOwn(neutral, name) && neutral[name]!(value)) continue;
    throw new UsageError({ found: `"${name.slice(0, 60)}" is not served`, where, fix: 'leave it out' });
  }
}

export function unserved(found: string, where: string, fix: string): UsageError {
  return new UsageError({ found, where, fix });
}

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
