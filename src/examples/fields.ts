import { bytes as inUnits } from '../base/format.js';
import { isRecord } from '../base/json.js';
import { BadRecord, MAX_FIELD_BYTES, quoteName, type Remark } from './example.js';

/** The fields of a record: which name means what, what a misspelt one was meant to be, and the text that a field holds. */

/** Names of the fields (JSON) and columns (CSV) that hold a question and its answer; the first that is there counts. */
export const QUESTION = ['instruction', 'prompt', 'question', 'query', 'user', 'input'];
export const ANSWER = ['output', 'completion', 'response', 'answer', 'assistant', 'chosen'];
/** Text that belongs to the question and follows it on a new line. */
export const CONTEXT = ['input', 'context'];
export const SYSTEM = ['system', 'system_prompt'];
/** Fields that hold a conversation. */
const CHAT = ['messages', 'conversations', 'conversation'];
/** Gemini's, where it is a list: as a column it holds texts. */
const CONTENTS = 'contents';
/** Fields that hold the system message of a conversation: Gemini's too. */
export const CHAT_SYSTEM = [...SYSTEM, 'systemInstruction', 'system_instruction'];

/** Holds a plain text, where there is no question and no answer beside it (mlx-lm, LLaMA-Factory, Hugging Face's text data sets). */
const TEXT = 'text';

const KNOWN = new Set([...QUESTION, ...ANSWER, ...CONTEXT, ...SYSTEM, ...CHAT, TEXT]);

/** The fields of a record that hold a conversation. */
interface ChatFields {
  learnt: string;
  context?: string;
  other?: string;
}

/**
 * Which fields hold a conversation: messages, or TRL's prompt and completion, or its preferences, of which the chosen one is learnt, if
 * one of them is a list. Undefined where there is none.
 */
export function chatFields(
  record: Readonly<Record<string, unknown>>,
  names: readonly string[],
): ChatFields | undefined {
  const isContents = names.includes(CONTENTS) && Array.isArray(record[CONTENTS]);
  const chat = CHAT.find((name) => names.includes(name)) ?? (isContents ? CONTENTS : undefined);
  // LLaMA-Factory's preferences: two messages, one of which follows the conversation.
  if (chat !== undefined && names.includes('rejected') && isObject(record.chosen))
    return { learnt: 'chosen', context: chat, other: 'rejected' };
  if (chat !== undefined) return { learnt: chat };
  const isChat = (name: string) => {
    const value = names.includes(name) ? record[name] : undefined;
    return Array.isArray(value) || (typeof value === 'string' && /^\s*\[\s*\{\s*"(role|from)"\s*:/.test(value));
  };
  const learnt = ['completion', 'chosen'].find((name) => names.includes(name));
  if (learnt === undefined || !(isChat(learnt) || isChat('prompt'))) return undefined;
  const other = learnt === 'chosen' && isChat('rejected') ? { other: 'rejected' } : {};
  return { learnt, ...other, ...(names.includes('prompt') && { context: 'prompt' }) };
}

/** Whether columns of these names may hold conversations, written as JSON. */
export function isChatTable(names: readonly string[]): boolean {
  return names.some((name) => CHAT.includes(name));
}

/** What a text is filed under: beside a text probably what is to be learnt. */
const CLASS = ['label', 'labels', 'category', 'class', 'intent', 'target', 'topic', 'sentiment'];

/**
 * Whether a record of these fields is a plain text. Alpaca's own files have one beside question and answer, rendered from them.
 * @throws BadRecord where the class of the text stands beside it: it would be left out silently
 */
export function isTextRecord(names: readonly string[]): boolean {
  if (!names.includes(TEXT) || names.some((name) => QUESTION.includes(name) || ANSWER.includes(name))) return false;
  const beside = names.find((name) => CLASS.includes(name));
  if (beside === undefined) return true;
  throw new BadRecord('missing-field', `beside "${TEXT}" there is "${beside}", and which is to be learnt is not said`);
}

export function isKnownField(name: string): boolean {
  return KNOWN.has(name);
}

/** Whether a field of this name is used, or asked about, though nobody has named it. */
export function hasMeaning(name: string): boolean {
  return KNOWN.has(name) || CLASS.includes(name);
}

interface PairFields {
  question: string;
  context?: string;
  answer: string;
  system?: string;
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
    throw new BadRecord('missing-field', whatIsMissing(question, answer, strange));
  }
  if (question === 'input') {
    const meant = similarName('instruction', strange);
    if (meant !== undefined) throw new BadRecord('missing-field', missing('instruction', meant));
  }
  const context = CONTEXT.find((name) => name !== question && has.has(name));
  if (context === undefined) {
    const input = question === 'input' ? undefined : similarName('input', strange);
    // By case only: "content" is one edit away and a common field of its own.
    const meant = input ?? similarName('context', strange, false);
    if (meant !== undefined) {
      const known = input === undefined ? 'context' : 'input';
      throw new BadRecord('missing-field', `field ${quoteName(meant)} is unknown (is it "${known}"?)`);
    }
  }
  return { question, context, answer, system: SYSTEM.find((name) => has.has(name)) };
}

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

function whatIsMissing(question: string | undefined, answer: string | undefined, strange: readonly string[]): string {
  const similar = (wanted: readonly string[]) =>
    wanted.map((name) => similarName(name, strange)).find((name) => name !== undefined);
  const named = (partner: string | undefined, usual: string, family: readonly string[]) => {
    const wanted = PARTNER[partner ?? ''] ?? usual;
    return missing(wanted, similar([wanted, ...family]));
  };
  if (question !== undefined) return named(question, 'output', ANSWER);
  if (answer !== undefined) return named(answer, 'instruction', QUESTION);
  const chat = similar(CHAT);
  if (chat !== undefined) return missing('messages', chat);
  const text = similarName(TEXT, strange, false);
  if (text !== undefined) return missing(TEXT, text);
  return `${named(undefined, 'instruction', QUESTION)} and ${named(undefined, 'output', ANSWER)}`;
}

function missing(wanted: string, meant: string | undefined): string {
  return `field "${wanted}" is missing${meant === undefined ? '' : ` (is it ${quoteName(meant)}?)`}`;
}

/**
 * The name among `names` that was probably meant to be `wanted`: the same but for case and outer space, or (with `typos`) one
 * edit away, two for words of more than 5 letters.
 */
export function similarName(wanted: string, names: readonly string[], typos = true): string | undefined {
  const same = names.find((name) => plain(name) === wanted);
  if (same !== undefined || !typos) return same;
  const most = wanted.length > 5 ? 2 : 1;
  return names.find((name) => {
    const spelt = plain(name);
    return Math.abs(spelt.length - wanted.length) <= most && edits(spelt, wanted) <= most;
  });
}

function plain(name: string): string {
  return name.trim().toLowerCase();
}

/** Edits (insert, delete, replace, swap of neighbours) from `a` to `b`: optimal string alignment, Damerau 1964. */
function edits(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let least = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) least = Math.min(least, before[j - 2]! + 1);
      next.push(least);
    }
    before = row;
    row = next;
  }
  return row[b.length]!;
}

/**
 * A number of a file that JavaScript would write in another form: 1.50, 1e3, one with too many digits. It is learnt and kept as it stands.
 */
export class WrittenNumber {
  constructor(readonly text: string) {}

  /** As a text, which keeps its form. */
  toJSON(): string {
    return this.text;
  }
}

/** The value of a number; undefined for anything else. */
export function numberOf(value: unknown): number | undefined {
  if (value instanceof WrittenNumber) return Number(value.text);
  return typeof value === 'number' ? value : undefined;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return isRecord(value) && !(value instanceof WrittenNumber);
}

/** The kind of a JSON value, as a person says it. */
export function kindOf(value: unknown): string {
  if (value instanceof WrittenNumber) return 'a number';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  switch (typeof value) {
    case 'string':
      return 'a text';
    case 'number':
      return 'a number';
    case 'boolean':
      return 'true or false';
    default:
      return 'an object';
  }
}

/**
 * A text field of a record. A number or a truth value is taken as the text it is written as, with a remark: a table of sums or of
 * yes/no labels is meant that way, and refusing it would help nobody.
 * @param name how to name the field in a reason: `"output"`, `messages[2].content`
 * @throws BadRecord when it is no text, too long, or holds characters no text has
 */
export function readText(value: unknown, name: string, remarks: Remark[]): string {
  if (typeof value === 'boolean' || numberOf(value) !== undefined) {
    remarks.push({ kind: 'converted', reason: `${name} is ${kindOf(value)} and was taken as text` });
    return value instanceof WrittenNumber ? value.text : String(value);
  }
  if (typeof value !== 'string') throw new BadRecord('wrong-type', `${name} is ${kindOf(value)}, expected a text`);
  // A UTF-16 unit takes at most 3 bytes, so most texts need no count.
  if (value.length * 3 > MAX_FIELD_BYTES && Buffer.byteLength(value) > MAX_FIELD_BYTES) {
    const found = `${name} has ${inUnits(Buffer.byteLength(value))}`;
    throw new BadRecord('too-long', `${found}, the limit of a field is ${inUnits(MAX_FIELD_BYTES)}`);
  }
  if (value.includes('\0')) throw new BadRecord('encoding', `${name} holds a NUL character (U+0000)`);
  if (/\p{Surrogate}/u.test(value)) {
    throw new BadRecord('encoding', `${name} holds half a character (a lone surrogate)`);
  }
  if (value.includes('\ufffd')) {
    remarks.push({
      kind: 'damaged-text',
      reason: `${name} holds U+FFFD, which stands where an earlier program lost text`,
    });
  }
  return value;
}

/** As `readText`, and refuses a text of white space only. */
export function readFilledText(value: unknown, name: string, remarks: Remark[]): string {
  if (value === null || value === undefined) throw new BadRecord('empty', `${name} is empty`);
  const text = readText(value, name, remarks);
  // Not trim(): it would copy a long text to answer yes or no.
  if (!/\S/.test(text)) throw new BadRecord('empty', `${name} is empty`);
  return text;
}
