import { BadRecord } from './badRecord.js';
import { quoteName } from './quoteName.js';
import { similarName } from './similarName.js';

/** Names of the fields (JSON) and columns (CSV) that hold a question and its answer; the first that is there counts. */
const QUESTION = ['instruction', 'prompt', 'question', 'query', 'user', 'input'];
const ANSWER = ['output', 'completion', 'response', 'answer', 'assistant'];
/** Text that belongs to the question and follows it on a new line. */
const CONTEXT = ['input', 'context'];
const SYSTEM = ['system', 'system_prompt'];
/** Fields that hold a conversation. */
export const CHAT = ['messages', 'conversations', 'conversation'];

const KNOWN = new Set([...QUESTION, ...ANSWER, ...CONTEXT, ...SYSTEM, ...CHAT]);

/** Which names go together, for saying what is missing: prompt and completion, question and answer. */
const PARTNER: Record<string, string> = {
  prompt: 'completion',
  question: 'answer',
  query: 'response',
  user: 'assistant',
  completion: 'prompt',
  answer: 'question',
  assistant: 'user',
};

export interface PairFields {
  question: string;
  context?: string;
  answer: string;
  system?: string;
}

export function isKnownField(name: string): boolean {
  return KNOWN.has(name);
}

function missing(wanted: string, family: readonly string[], strange: readonly string[]): string {
  const meant = [wanted, ...family].map((name) => similarName(name, strange)).find((name) => name !== undefined);
  return `field "${wanted}" is missing${meant === undefined ? '' : ` (is it ${quoteName(meant)}?)`}`;
}

/**
 * Picks the fields of a question and answer pair by their names.
 * @throws BadRecord naming what is missing, and the name that looks like it. A name that looks like an optional field is refused
 * too: passing over "imput" would train on half of the question.
 */
export function chooseFields(names: readonly string[]): PairFields {
  const has = new Set(names);
  const strange = names.filter((name) => !KNOWN.has(name));
  const answer = ANSWER.find((name) => has.has(name));
  const question = QUESTION.find((name) => has.has(name));
  if (question === undefined || answer === undefined) {
    const reasons: string[] = [];
    if (question === undefined && answer === undefined) {
      const chat = CHAT.map((name) => similarName(name, strange)).find((name) => name !== undefined);
      if (chat !== undefined)
        throw new BadRecord('missing-field', `field "messages" is missing (is it ${quoteName(chat)}?)`);
    }
    if (question === undefined) reasons.push(missing(PARTNER[answer ?? ''] ?? 'instruction', QUESTION, strange));
    if (answer === undefined) reasons.push(missing(PARTNER[question ?? ''] ?? 'output', ANSWER, strange));
    throw new BadRecord('missing-field', reasons.join(' and '));
  }
  if (question === 'input') {
    const meant = similarName('instruction', strange);
    if (meant !== undefined) {
      throw new BadRecord('missing-field', `field "instruction" is missing (is it ${quoteName(meant)}?)`);
    }
  }
  const context = CONTEXT.find((name) => name !== question && has.has(name));
  if (context === undefined && strange.length > 0) {
    // "context" by case only: "content" is one edit away and a common field of its own.
    const meant =
      (question === 'input' ? undefined : similarName('input', strange)) ?? similarName('context', strange, false);
    if (meant !== undefined) {
      throw new BadRecord('missing-field', `field ${quoteName(meant)} is unknown (is it "${nearest(meant)}"?)`);
    }
  }
  return { question, context, answer, system: SYSTEM.find((name) => has.has(name)) };
}

function nearest(meant: string): string {
  return similarName('context', [meant], false) === undefined ? 'input' : 'context';
}
