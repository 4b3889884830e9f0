import { type ChatLayout, chooseSpeaker, conversationRecords, type Said } from '../dialogue.js';
import type { Pace } from '../source.js';
import { json } from './json.js';
import type { Reader, TextFile } from './reader.js';

/**
 * A chat as WhatsApp exports it: a line to a message, `[31/12/23, 23:59:10] Anna: text` (iOS) or `31/12/23, 23:59 - Anna: text` (Android),
 * date and time in the form of the phone; lines without a date go on with the message above. Line forms were collected from exports of
 * phones in several languages.
 */
export const whatsapp: Reader<ChatLayout & { dayFirst: boolean }> = {
  container: 'whatsapp',

  detect(file) {
    if (!looksLikeChat(file)) return undefined;
    const speakers = new Map<string, number>();
    const votes = { first: 0, second: 0 };
    for (const entry of entries(file.bytes)) {
      const [a, b] = entry.date;
      if (a! > 12) votes.first++;
      if (a! <= 31 && b! > 12) votes.second++;
      if (entry.from !== undefined && isWritten(entry.text)) {
        speakers.set(entry.from, (speakers.get(entry.from) ?? 0) + 1);
      }
    }
    // The file is named after the other one: "WhatsApp Chat with Ben.txt".
    const names = [...speakers.keys()];
    const name = file.name.normalize();
    const guess =
      names.length === 2 ? names.find((one) => !name.includes(one) && names.some((n) => name.includes(n))) : undefined;
    const from = 'WhatsApp';
    return {
      ...chooseSpeaker(file.columns, speakers, { file: file.name, from, guess }),
      dayFirst: votes.second <= votes.first,
    };
  },

  read(bytes, layout, pace) {
    return conversationRecords(messages(bytes, layout.dayFirst, pace), layout);
  },

  /** As conversations: what else the lines said is not kept. */
  write(records) {
    return json.write(records);
  },
};

const DATE = String.raw`(\d{1,4})(?:[./-]|\. )(\d{1,2})(?:[./-]|\. )(\d{1,4})\.?`;
/** With what stands for morning and afternoon on either side: "11:59 p. m.", "下午11:59". */
const TIME = String.raw`(\D{0,12}?)(\d{1,2})[:.](\d{2})(?:[:.]\d{2})?([^\d\n[\]-]{0,12}?)`;
const IOS = new RegExp(String.raw`^[\u200e\u200f]*\[${DATE},?[\s\u202f]${TIME}\] ?(.*)$`, 's');
const ANDROID = new RegExp(String.raw`^[\u200e\u200f]*${DATE},?[\s\u202f]${TIME}\s-\s(.*)$`, 's');
/** A name before the text. Notices have none, or one in quotes: Anna changed the subject to “Cakes: who bakes”. */
const FROM = /^[\u200e\u200f\u202a-\u202e~\s]*([^:\n"“”«»„]{1,80}?)[\u200e\u200f\u202a-\u202e]*: ?(.*)$/s;

interface Entry {
  line: number;
  /** As it is written: day, month and year in some order. */
  date: number[];
  /** Of the day. */
  minute: number;
  /** Absent: a notice. */
  from?: string;
  text: string;
}

/** Bytes in which two people must have written for a text to be a chat. */
const HEAD_BYTES = 64 * 1024;

function looksLikeChat({ bytes, container }: TextFile): boolean {
  if (container !== undefined && container !== 'whatsapp') return false;
  const first = /^\s*(.*)/.exec(bytes.toString('utf8', 0, 500))![1]!;
  if (!IOS.test(first) && !ANDROID.test(first)) return false;
  const speakers = new Set<string>();
  const end = bytes.lastIndexOf('\n', HEAD_BYTES);
  for (const { from } of entries(end > 0 ? bytes.subarray(0, end) : bytes)) if (from !== undefined) speakers.add(from);
  return speakers.size > 1;
}

function* entries(bytes: Buffer): Generator<Entry, void> {
  let open: Entry | undefined;
  let line = 0;
  for (let at = 0; at < bytes.length; ) {
    let end = bytes.indexOf(0x0a, at);
    if (end < 0) end = bytes.length;
    const text = bytes.toString('utf8', at, end).replace(/\r$/, '');
    at = end + 1;
    line++;
    const found = text.length < LONGEST_HEAD || /^[\u200e\u200f[\d]/.test(text) ? entryOf(text, line) : undefined;
    if (found !== undefined) {
      if (open) yield open;
      open = found;
    } else if (open) open.text += `\n${text}`;
  }
  if (open) yield open;
}

const LONGEST_HEAD = 200;

function entryOf(text: string, line: number): Entry | undefined {
  const found = IOS.exec(text) ?? ANDROID.exec(text);
  if (!found) return undefined;
  const [, a, b, c, before, hour, minute, after, rest] = found;
  const isAfternoon = /p\.?\s?m|下午|오후|م|अपराह्न/i.test(`${before}${after}`);
  const minutes = (Number(hour) + (isAfternoon && Number(hour) < 12 ? 12 : 0)) * 60 + Number(minute);
  const said = FROM.exec(rest!);
  return {
    line,
    date: [Number(a), Number(b), Number(c)],
    minute: minutes,
    ...(said ? { from: said[1]!.normalize(), text: said[2]! } : { text: rest! }),
  };
}

/** Days are counted for pauses alone: a month has 31. */
function dayOf([a, b, c]: readonly number[], dayFirst: boolean): number {
  if (a! > 31) return (a! * 12 + b!) * 31 + c!;
  const [day, month] = dayFirst ? [a!, b!] : [b!, a!];
  return (c! * 12 + month) * 31 + day;
}

async function* messages(bytes: Buffer, dayFirst: boolean, pace: Pace): AsyncGenerator<Said | 'other'> {
  for (const { line, date, minute, from, text } of entries(bytes)) {
    if (pace.due) await pace.rest();
    if (from === undefined || !isWritten(text)) yield 'other';
    else yield { line, minute: dayOf(date, dayFirst) * 24 * 60 + minute, from, text: plain(text) };
  }
}

const EDITED = /\s*\u200e?<[^<>\n]{4,60}>$/;

function plain(text: string): string {
  const bare = EDITED.test(text) && text.includes('\u200e') ? text.replace(EDITED, '') : text;
  return bare.replace(/[\u200e\u200f\u202a-\u202e]/g, '').trim();
}

/** What WhatsApp writes in place of a message that was deleted, in the languages of the page and some more. */
const DELETED = new RegExp(
  `^(${[
    ...[
      'This message was deleted',
      'You deleted this message',
      'null',
      'Waiting for this message',
      'Missed (voice|video) call',
    ],
    ...[
      'Diese Nachricht wurde gelöscht',
      'Du hast diese Nachricht gelöscht',
      'Se eliminó este mensaje',
      'Eliminaste este mensaje',
    ],
    ...[
      'Mensagem apagada',
      'Você apagou esta mensagem',
      'Esta mensagem foi apagada',
      'यह मैसेज (हटा दिया|डिलीट किया) गया.*',
    ],
    ...['Ce message a été supprimé', 'Vous avez supprimé ce message', '此消息已删除', '(你|您)已?删除了?此(条)?消息'],
  ].join('|')})[.。]?$`,
  'i',
);

/** Whether somebody wrote it: not a picture or a call, of which iOS begins the line with U+200E and Android puts words in brackets. */
function isWritten(text: string): boolean {
  const bare = plain(text);
  if (bare === '' || text.startsWith('\u200e') || DELETED.test(bare)) return false;
  return !/^<[^<>\n]{3,80}>$/.test(bare) && !/^[\w-]+\.\w{2,5} \([^()\n]{3,60}\)/.test(bare);
}
