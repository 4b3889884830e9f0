import { BadRecord, isTrained, type Message, type Remark, type Role, type Shape } from './example.js';
import { CHAT, chooseFields, isTextRecord, kindOf, readFilledText, readText, SYSTEM } from './fields.js';

/** The shapes of a record, a question with its answer, a conversation or a plain text, made into messages. */

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
  if (!isObject(value)) {
    throw new BadRecord('not-a-record', `the record is ${kindOf(value)}, expected an object with named fields`);
  }
  const names = Object.keys(value);
  const chat = CHAT.find((name) => Object.hasOwn(value, name));
  if (chat === undefined) {
    const { used, ...read } = isTextRecord(names) ? readPlain(value, remarks) : readPair(value, names, remarks);
    return { ...read, remarks, unused: names.filter((name) => !used.includes(name)) };
  }
  const system = SYSTEM.find((name) => Object.hasOwn(value, name) && value[name] !== undefined);
  const read = readChat(value[chat], chat, system === undefined ? undefined : value[system], remarks);
  return { ...read, remarks, unused: names.filter((name) => name !== chat && name !== system) };
}

/** `{"text": "..."}`; with `continues`, the white space before the next record, where that goes on with the same text. */
function readPlain(record: Record<string, unknown>, remarks: Remark[]) {
  const content = readFilledText(record.text, '"text"', remarks);
  const { continues } = record;
  if (
    continues !== undefined &&
    continues !== null &&
    !(typeof continues === 'string' && /^\s{0,100}$/.test(continues))
  ) {
    throw new BadRecord('wrong-type', '"continues" is not the white space before the next record');
  }
  const more = typeof continues === 'string' ? { continues } : {};
  const messages: Message[] = [{ role: 'text', content, ...more }];
  return { shape: 'text' as Shape, messages, used: ['text', 'continues'] };
}

/**
 * A record that holds one question and its answer. The user text is `question + (context ? '\n' + context : '')`, which for an
 * Alpaca record is instruction and input. A context or system text that is null or '' counts as absent.
 */
function readPair(record: Record<string, unknown>, names: readonly string[], remarks: Remark[]) {
  const { question, context, answer, system } = chooseFields(names);
  const optional = (name: string | undefined) =>
    name === undefined ? '' : readText(record[name] ?? '', `"${name}"`, remarks);
  const before = optional(system);
  const asked = readFilledText(record[question], `"${question}"`, remarks);
  const more = optional(context);
  const messages: Message[] = before === '' ? [] : [{ role: 'system', content: before }];
  messages.push({ role: 'user', content: more === '' ? asked : `${asked}\n${more}` });
  messages.push({ role: 'assistant', content: readFilledText(record[answer], `"${answer}"`, remarks) });
  const shape: Shape = question === 'instruction' ? 'alpaca' : 'pairs';
  const used: (string | undefined)[] = [question, context, answer, system];
  return { shape, messages, used };
}

/**
 * A conversation: a list of `{role, content}` (OpenAI) or `{from, value}` (ShareGPT) messages. Kept whole; every assistant message
 * is learnt unless the file says otherwise. `system` is a system message that stands beside the list.
 */
function readChat(
  list: unknown,
  name: string,
  system: unknown,
  remarks: Remark[],
): { shape: Shape; messages: Message[] } {
  if (!Array.isArray(list)) {
    throw new BadRecord('wrong-type', `"${name}" is ${kindOf(list)}, expected a list of messages`);
  }
  if (list.length === 0) throw new BadRecord('empty', `"${name}" is an empty list`);
  const messages: Message[] = [];
  const beside = readText(system ?? '', '"system"', remarks);
  if (beside !== '') messages.push({ role: 'system', content: beside });
  for (const [i, entry] of list.entries()) {
    append(messages, readMessage(entry, `${name}[${i}]`, remarks), `${name}[${i}]`, remarks);
  }
  if (!messages.some(isTrained)) throw new BadRecord('empty', `"${name}" has no assistant message to learn`);
  if (messages.at(-1)!.role === 'user') {
    remarks.push({ kind: 'unlearnt-end', reason: `"${name}" ends with a user message, from which nothing is learnt` });
  }
  const first: unknown = list[0];
  return { shape: isObject(first) && Object.hasOwn(first, 'from') ? 'sharegpt' : 'messages', messages };
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

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
