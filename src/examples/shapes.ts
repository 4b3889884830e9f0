import { isUtf8 } from 'node:buffer';
import { bytes as inUnits } from '../base/format.js';
import {
  BadRecord,
  MAX_DEPTH,
  MAX_RECORD_BYTES,
  type Message,
  quoteName,
  type Remark,
  type Role,
  type Shape,
} from './example.js';
import { explainJson, type JsonSpan } from './json.js';
import { kindOf, readFilledText, readText } from './text.js';

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

function plain(name: string): string {
  return name.trim().toLowerCase();
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

/** Names of the fields (JSON) and columns (CSV) that hold a question and its answer; the first that is there counts. */
const QUESTION = ['instruction', 'prompt', 'question', 'query', 'user', 'input'];
const ANSWER = ['output', 'completion', 'response', 'answer', 'assistant'];
/** Text that belongs to the question and follows it on a new line. */
const CONTEXT = ['input', 'context'];
const SYSTEM = ['system', 'system_prompt'];
/** Fields that hold a conversation. */
const CHAT = ['messages', 'conversations', 'conversation'];

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

interface PairFields {
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

/** Names of the roles, in OpenAI's and in ShareGPT's files; case does not matter. */
const ROLES: ReadonlyMap<string, Role> = new Map([
  ['system', 'system'],
  ['user', 'user'],
  ['human', 'user'],
  ['assistant', 'assistant'],
  ['gpt', 'assistant'],
  ['chatgpt', 'assistant'],
  ['bing', 'assistant'],
  ['bard', 'assistant'],
  ['model', 'assistant'],
]);

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function readRole(value: unknown, name: string): Role {
  if (typeof value !== 'string') {
    throw new BadRecord('wrong-type', `${name} is ${value === undefined ? 'missing' : kindOf(value)}, expected a role`);
  }
  const role = ROLES.get(value.trim().toLowerCase());
  if (role !== undefined) return role;
  // Repeated only when it looks like a role: a text in the wrong field is private.
  const shown = /^[\w.-]{1,30}$/.test(value) ? `"${value}"` : 'not a role';
  throw new BadRecord('role', `${name} is ${shown}, expected system, user or assistant`);
}

/** OpenAI also writes a content as parts; those of type text are joined. */
function joinParts(value: unknown, name: string): unknown {
  if (!Array.isArray(value)) return value;
  const parts: unknown[] = value;
  return parts
    .map((part, i) => {
      if (isObject(part) && part.type === 'text' && typeof part.text === 'string') return part.text;
      throw new BadRecord('wrong-type', `${name}[${i}] is not a part of type text`);
    })
    .join('');
}

function isLearnt(message: Record<string, unknown>, name: string): boolean {
  const { weight, train } = message;
  if (train !== undefined && train !== null && typeof train !== 'boolean') {
    throw new BadRecord('wrong-type', `${name}.train is ${kindOf(train)}, expected true or false`);
  }
  if (weight !== undefined && weight !== null && weight !== 0 && weight !== 1) {
    throw new BadRecord('wrong-type', `${name}.weight is neither 0 nor 1`);
  }
  return train !== false && weight !== 0;
}

function readMessage(value: unknown, name: string, remarks: Remark[]): Message {
  if (!isObject(value)) throw new BadRecord('wrong-type', `${name} is ${kindOf(value)}, expected a message`);
  const openai = Object.hasOwn(value, 'role') || Object.hasOwn(value, 'content');
  const [roleKey, textKey] = openai ? ['role', 'content'] : ['from', 'value'];
  if (!Object.hasOwn(value, roleKey)) throw new BadRecord('missing-field', `${name} has no field "${roleKey}"`);
  const role = readRole(value[roleKey], `${name}.${roleKey}`);
  for (const call of ['tool_calls', 'function_call']) {
    if (value[call] !== undefined && value[call] !== null) {
      throw new BadRecord('role', `${name} calls a tool, which Loam does not train`);
    }
  }
  if (!Object.hasOwn(value, textKey)) throw new BadRecord('missing-field', `${name} has no field "${textKey}"`);
  const text = joinParts(value[textKey], `${name}.${textKey}`);
  // An empty system message stays: with some chat templates it differs from none.
  if (role === 'system') return { role, content: readText(text ?? '', `${name}.${textKey}`, remarks) };
  const content = readFilledText(text, `${name}.${textKey}`, remarks);
  return role === 'assistant' && !isLearnt(value, name) ? { role, content, train: false } : { role, content };
}

/** Adds a message; two in a row of one role become one, because many chat templates refuse them. */
function append(messages: Message[], message: Message, name: string, remarks: Remark[]): void {
  const last = messages.at(-1);
  if (message.role === 'system' && last !== undefined) {
    throw new BadRecord('order', `${name} is a system message, which only the first message may be`);
  }
  if (message.role === 'assistant' && (last === undefined || last.role === 'system')) {
    throw new BadRecord('order', `${name} is an assistant message, expected a user message before it`);
  }
  if (last?.role !== message.role) {
    messages.push(message);
    return;
  }
  if (last.train !== message.train) {
    throw new BadRecord('order', `${name} follows an assistant message of other weight without a user message between`);
  }
  last.content += '\n' + message.content;
  remarks.push({ kind: 'joined', reason: `${name} has the role of the message before it and was joined to it` });
}

/**
 * A conversation: a list of `{role, content}` (OpenAI) or `{from, value}` (ShareGPT) messages. Kept whole; every assistant message
 * is learnt unless the file says otherwise. `system` is a system message that stands beside the list.
 */
export function readChat(
  list: unknown,
  name: string,
  system: unknown,
  remarks: Remark[],
): { shape: Shape; messages: Message[] } {
  if (!Array.isArray(list))
    throw new BadRecord('wrong-type', `"${name}" is ${kindOf(list)}, expected a list of messages`);
  if (list.length === 0) throw new BadRecord('empty', `"${name}" is an empty list`);
  const messages: Message[] = [];
  const beside = readText(system ?? '', '"system"', remarks);
  if (beside !== '') messages.push({ role: 'system', content: beside });
  for (const [i, entry] of list.entries()) {
    append(messages, readMessage(entry, `${name}[${i}]`, remarks), `${name}[${i}]`, remarks);
  }
  if (!messages.some(({ role, train }) => role === 'assistant' && train !== false)) {
    throw new BadRecord('empty', `"${name}" has no assistant message to learn`);
  }
  if (messages.at(-1)!.role === 'user') {
    remarks.push({ kind: 'unlearnt-end', reason: `"${name}" ends with a user message, from which nothing is learnt` });
  }
  const first: unknown = list[0];
  return { shape: isObject(first) && Object.hasOwn(first, 'from') ? 'sharegpt' : 'messages', messages };
}

/**
 * A record that holds one question and its answer. The user text is `question + (context ? '\n' + context : '')`, which for an
 * Alpaca record is instruction and input. A context or system text that is null or '' counts as absent.
 */
function readPair(
  record: Record<string, unknown>,
  remarks: Remark[],
): { shape: Shape; messages: Message[]; used: string[] } {
  const { question, context, answer, system } = chooseFields(Object.keys(record));
  const used = [question, answer];
  const messages: Message[] = [];
  if (system !== undefined) {
    used.push(system);
    const text = readText(record[system] ?? '', `"${system}"`, remarks);
    if (text !== '') messages.push({ role: 'system', content: text });
  }
  let asked = readFilledText(record[question], `"${question}"`, remarks);
  if (context !== undefined) {
    used.push(context);
    const text = readText(record[context] ?? '', `"${context}"`, remarks);
    asked = asked + (text ? '\n' + text : '');
  }
  messages.push({ role: 'user', content: asked });
  messages.push({ role: 'assistant', content: readFilledText(record[answer], `"${answer}"`, remarks) });
  return { shape: question === 'instruction' ? 'alpaca' : 'pairs', messages, used };
}

interface ReadRecord {
  shape: Shape;
  messages: Message[];
  remarks: Remark[];
  /** Names of fields that were not looked at. */
  unused: string[];
}

/**
 * Interprets the parsed value of one record by its own fields, so that a file put together from several sources works.
 * `hasOwn` throughout: JSON.parse makes `__proto__` an ordinary field, and it must stay one.
 * @throws BadRecord when it cannot be used
 */
export function readRecord(value: unknown): ReadRecord {
  const remarks: Remark[] = [];
  if (Array.isArray(value)) return { ...readChat(value, 'messages', undefined, remarks), remarks, unused: [] };
  if (typeof value !== 'object' || value === null) {
    throw new BadRecord('not-a-record', `the record is ${kindOf(value)}, expected an object with named fields`);
  }
  const record = value as Record<string, unknown>;
  const chat = CHAT.find((name) => Object.hasOwn(record, name));
  if (chat === undefined) {
    const { shape, messages, used } = readPair(record, remarks);
    return { shape, messages, remarks, unused: Object.keys(record).filter((name) => !used.includes(name)) };
  }
  const used = [chat];
  let system: unknown;
  for (const name of ['system', 'system_prompt']) {
    if (!Object.hasOwn(record, name) || system !== undefined) continue;
    used.push(name);
    system = record[name];
  }
  const { shape, messages } = readChat(record[chat], chat, system, remarks);
  return { shape, messages, remarks, unused: Object.keys(record).filter((name) => !used.includes(name)) };
}

/** @throws BadRecord when the bytes of a record are too many or no text. */
export function checkRecordBytes(record: Buffer): void {
  if (record.length > MAX_RECORD_BYTES) {
    const found = `the record has ${inUnits(record.length)}`;
    throw new BadRecord('too-long', `${found}, the limit is ${inUnits(MAX_RECORD_BYTES)}`);
  }
  if (!isUtf8(record)) {
    throw new BadRecord('encoding', 'it holds bytes that are not UTF-8 text; save the file as UTF-8');
  }
}

/**
 * Parses one record within the file.
 * @throws BadRecord when its size, encoding or nesting is refused
 * @throws JsonFault when it is not JSON
 */
export function parseRecord(bytes: Buffer, { start, end, depth }: JsonSpan, fileEnd = 'the end of the file'): unknown {
  const record = bytes.subarray(start, end);
  checkRecordBytes(record);
  if (depth > MAX_DEPTH) throw new BadRecord('too-long', `it is nested more than ${MAX_DEPTH} levels deep`);
  try {
    return JSON.parse(record.toString('utf8'));
  } catch {
    // Not given on as cause: V8's message quotes the user's text.
    throw explainJson(bytes, start, fileEnd);
  }
}
