import type { Tool } from '../model/message.js';
import { type ChatParts, readChat, readTurns } from './chat.js';
import { BadRecord, type Message, type Remark, type Shape } from './example.js';
import {
  CHAT_SYSTEM,
  chatFields,
  chooseFields,
  isObject,
  isTextRecord,
  kindOf,
  readFilledText,
  readText,
} from './fields.js';
import { readCallText, readTools, TOOLS } from './tools.js';
import { requireSeen, requireWanted } from './verdict.js';

/** The shapes of a record, a question with its answer, a conversation or a plain text, made into messages. */

export interface ReadRecord {
  shape: Shape;
  messages: Message[];
  tools?: Tool[];
  remarks: Remark[];
  /** Names of fields that were not looked at; those of messages as `messages.NAME`. */
  unused: string[];
}

/**
 * Interprets the parsed value of one record by its own fields, so that a file put together from several sources works.
 * `hasOwn` throughout: JSON.parse makes `__proto__` an ordinary field, and it must stay one.
 * @throws BadRecord when it cannot be used
 */
export function readRecord(value: unknown): ReadRecord {
  const remarks: Remark[] = [];
  const unused = new Set<string>();
  if (Array.isArray(value)) {
    if (value.length > 0 && !value.some(isObject)) {
      const reason =
        'the record is a list of values without names, expected an object with named fields (in pandas, orient="records")';
      throw new BadRecord('not-a-record', reason);
    }
    const read = readChat({ learnt: { list: value, name: 'messages' } }, remarks, unused);
    return { ...read, remarks, unused: [...unused] };
  }
  if (!isObject(value)) {
    throw new BadRecord('not-a-record', `the record is ${kindOf(value)}, expected an object with named fields`);
  }
  if (typeof value.refused === 'string' && typeof value.row === 'string') throw new BadRecord('syntax', value.refused);
  const names = Object.keys(value);
  const { used, ...read } = readFields(value, names, remarks, unused);
  const said = requireWanted(value, names);
  requireSeen(value, read.messages);
  for (const name of names) if (!used.includes(name) && !said.includes(name)) unused.add(name);
  return { ...read, remarks, unused: [...unused] };
}

interface ReadFields {
  shape: Shape;
  messages: Message[];
  tools?: Tool[];
  used: readonly (string | undefined)[];
}

function readFields(
  record: Record<string, unknown>,
  names: readonly string[],
  remarks: Remark[],
  unused: Set<string>,
): ReadFields {
  const chat = chatFields(record, names);
  if (chat === undefined) {
    if (isTextRecord(names)) return readPlain(record, remarks);
    const { tools, field } = toolsOf(record, remarks, unused);
    const { used, ...read } =
      tools && names.includes('answers') ? readCalled(record, names, remarks) : readPair(record, names, remarks);
    return { ...read, tools, used: [...used, field] };
  }
  const system = CHAT_SYSTEM.find((name) => Object.hasOwn(record, name) && record[name] !== undefined);
  const part = (name: string | undefined): ChatParts['learnt'] | undefined =>
    name === undefined ? undefined : { list: record[name], name };
  const parts = { context: part(chat.context), learnt: part(chat.learnt)!, other: part(chat.other)?.list };
  const read = readChat({ ...parts, system: system === undefined ? undefined : record[system] }, remarks, unused);
  const { tools, field } = toolsOf(record, remarks, unused);
  return { ...read, tools, used: [chat.context, chat.learnt, chat.other, system, field] };
}

/** The tools beside a conversation, and the field that holds them. */
function toolsOf(
  record: Record<string, unknown>,
  remarks: Remark[],
  unused: Set<string>,
): { tools?: Tool[]; field?: string } {
  const field = TOOLS.find((name) => Object.hasOwn(record, name));
  return field === undefined ? {} : { tools: readTools(record[field], field, remarks, unused), field };
}

/** `{"text": "..."}`; with `continues`, the white space before the next record, where that goes on with the same text. */
function readPlain(record: Record<string, unknown>, remarks: Remark[]): ReadFields {
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
  return { shape: 'text', messages, used: ['text', 'continues'] };
}

/**
 * A record that holds one question and its answer. The user text is `question + (context ? '\n' + context : '')`, which for an
 * Alpaca record is instruction and input. A context or system text that is null or '' counts as absent, as does a question where there
 * is a context. `history`, LLaMA-Factory's list of earlier questions and answers, comes before it, and is learnt too, as there.
 */
function readPair(record: Record<string, unknown>, names: readonly string[], remarks: Remark[]): ReadFields {
  const { question, context, answer, system } = chooseFields(names);
  const optional = (name: string | undefined) =>
    name === undefined ? '' : readText(record[name] ?? '', `"${name}"`, remarks);
  const before = optional(system);
  const more = optional(context);
  const isAsked = !isEmpty(record[question]) || isEmpty(more);
  const asked = isAsked ? readFilledText(record[question], `"${question}"`, remarks) : more;
  const turns = readTurns(record.history, remarks);
  const messages: Message[] = before === '' ? [] : [{ role: 'system', content: before }];
  for (const turn of turns ?? []) messages.push(turn);
  messages.push({ role: 'user', content: more === '' || !isAsked ? asked : `${asked}\n${more}` });
  const answered = readFilledText(record[answer], `"${answer}"`, remarks);
  if (NOTHING.test(answered)) {
    remarks.push({
      kind: 'converted',
      reason: `"${answer}" is a word for no value (such as NULL or NaN) and was taken as text`,
    });
  }
  messages.push({ role: 'assistant', content: answered });
  const shape: Shape = question === 'instruction' ? 'alpaca' : 'pairs';
  return { shape, messages, used: [question, context, answer, system, turns && 'history'] };
}

/** What databases and pandas write where there is no answer. */
const NOTHING = /^\s*(?:null|nan|none)\s*$/i;

/** A question whose answer is calls (xLAM's "query", "tools" and "answers"). */
function readCalled(record: Record<string, unknown>, names: readonly string[], remarks: Remark[]): ReadFields {
  const { question, ...more } = chooseFields([...names, 'answer']);
  const { calls, content } = readCallText(record.answers, '"answers"', remarks);
  const system = more.system === undefined ? '' : readText(record[more.system] ?? '', `"${more.system}"`, remarks);
  const messages: Message[] = system === '' ? [] : [{ role: 'system', content: system }];
  messages.push({ role: 'user', content: readFilledText(record[question], `"${question}"`, remarks) });
  messages.push({ role: 'assistant', content, ...(calls.length > 0 && { calls }) });
  return { shape: 'pairs', messages, used: [question, 'answers', more.system] };
}

function isEmpty(value: unknown): boolean {
  return value === null || value === undefined || (typeof value === 'string' && !/\S/.test(value));
}
