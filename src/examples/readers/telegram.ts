import { isRecord, OPEN_LIST, OPEN_OBJECT, skipSpace } from '../../base/json.js';
import { type ChatLayout, chooseSpeaker, conversationRecords, type Said } from '../dialogue.js';
import { BadRecord } from '../example.js';
import type { Pace } from '../source.js';
import { json, listSpans, objectSpans } from './json.js';
import { type JsonSpan, parseRecord } from './jsonl.js';
import { LineCounter, type Reader, type TextFile } from './reader.js';

/**
 * Chats as Telegram Desktop exports them ("machine-readable JSON"): one chat, `{name, type, id, messages: [{type, date, from, text}]}`, or
 * all of them, `{personal_information, chats: {list: [chat]}}`. A text is a text, or a list of texts and of parts with a `text` each.
 */
export const telegram: Reader<ChatLayout & { chats: readonly JsonSpan[] }> = {
  container: 'telegram',

  async detect(file, pace) {
    if (!looksLikeExport(file)) return undefined;
    const found = await chatsOf(file.bytes, pace);
    if (!found) return undefined;
    const { chats, own, partner } = found;
    const speakers = new Map<string, number>();
    let guess: string | undefined;
    for await (const one of messages(file.bytes, chats, pace)) {
      if (typeof one === 'string') continue;
      speakers.set(one.from, (speakers.get(one.from) ?? 0) + 1);
      if (one.id === own) guess = one.from;
    }
    if (speakers.size < 2) return undefined;
    if (guess === undefined && speakers.size === 2) guess = [...speakers.keys()].find((name) => name !== partner);
    const choice = chooseSpeaker(file.columns, speakers, { file: file.name, from: 'Telegram', guess });
    return { ...choice, isGroup: chats.length === 1 && speakers.size > 2, chats };
  },

  read(bytes, layout, pace) {
    return conversationRecords(messages(bytes, layout.chats, pace), layout);
  },

  /** As conversations: what else the export said is not kept. */
  write(records) {
    return json.write(records);
  },
};

const HEAD_BYTES = 64 * 1024;
const END = 'the end of the file';

function looksLikeExport({ bytes, container }: TextFile): boolean {
  if (container !== undefined && container !== 'telegram') return false;
  if (bytes[skipSpace(bytes, 0)] !== OPEN_OBJECT) return false;
  const head = bytes.toString('utf8', 0, HEAD_BYTES);
  const isChat = /"type"\s*:\s*"\w*(chat|group|channel|saved_messages)"/.test(head) && /"messages"\s*:\s*\[/.test(head);
  return isChat || (/"personal_information"\s*:/.test(head) && bytes.includes('"chats"'));
}

interface Export {
  /** The lists of messages. */
  chats: JsonSpan[];
  /** Id of whose export it is, and the name of whom the only chat is with, if the file says them. */
  own?: string;
  partner?: string;
}

async function chatsOf(bytes: Buffer, pace: Pace): Promise<Export | undefined> {
  const spans = async (at: number) =>
    new Map((await objectSpans(bytes, at, pace)).fields.map(({ name, value }) => [name, value]));
  const text = (span: JsonSpan | undefined) => (span ? parsed(bytes, span) : undefined);
  const top = await spans(skipSpace(bytes, 0));
  const direct = top.get('messages');
  if (direct && bytes[direct.start] === OPEN_LIST) {
    const name = text(top.get('name'));
    return { chats: [direct], ...(typeof name === 'string' && { partner: name.normalize() }) };
  }
  const all = top.get('chats');
  if (!all || bytes[all.start] !== OPEN_OBJECT) return undefined;
  const list = (await spans(all.start)).get('list');
  if (!list || bytes[list.start] !== OPEN_LIST) return undefined;
  const chats: JsonSpan[] = [];
  for await (const chat of listSpans(bytes, { at: list.start, unread: [] }, pace)) {
    if (bytes[chat.start] !== OPEN_OBJECT) continue;
    const fields = await spans(chat.start);
    const found = fields.get('messages');
    // Other people's channels, and bots, are no talk of this person's.
    const type = text(fields.get('type'));
    if (found && bytes[found.start] === OPEN_LIST && !/channel|bot|saved/.test(String(type))) chats.push(found);
  }
  const person = text(top.get('personal_information'));
  const id = isRecord(person) ? person.user_id : undefined;
  return { chats, ...(id !== undefined && { own: `user${String(id)}` }) };
}

function parsed(bytes: Buffer, span: JsonSpan): unknown {
  try {
    return parseRecord(bytes, span, END);
  } catch (error) {
    if (error instanceof BadRecord) return undefined;
    throw error;
  }
}

async function* messages(
  bytes: Buffer,
  chats: readonly JsonSpan[],
  pace: Pace,
): AsyncGenerator<(Said & { id: unknown }) | 'other' | 'next chat'> {
  const lines = new LineCounter(bytes);
  for (const [i, chat] of chats.entries()) {
    if (i > 0) yield 'next chat';
    for await (const span of listSpans(bytes, { at: chat.start, unread: [] }, pace)) {
      if (pace.due) await pace.rest();
      const message = parsed(bytes, span);
      if (!isRecord(message) || message.type !== 'message') {
        yield 'other';
        continue;
      }
      const text = textOf(message.text).trim();
      const { from, from_id: id, date } = message;
      // What is passed on is another's words.
      if (text === '' || typeof from !== 'string' || message.forwarded_from !== undefined) yield 'other';
      else yield { line: lines.lineOf(span.start), minute: minuteOf(date), from: from.normalize(), text, id };
    }
  }
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) return '';
  return value.map((part: unknown) => (isRecord(part) ? textOf(part.text) : textOf(part))).join('');
}

/** Of "2023-12-31T23:59:10", in the time of the device that exported it. */
function minuteOf(date: unknown): number {
  const time = Date.parse(`${String(date)}Z`);
  return Number.isNaN(time) ? 0 : time / 60_000;
}
