import { LoamError } from '../base/errors.js';
import { count } from '../base/format.js';
import type { Columns } from './columns.js';
import type { RawRecord } from './example.js';

/** A messenger's chat as conversations to learn from: the answers are what one person wrote, the questions what the others did. */

/** One message of a chat. */
export interface Said {
  /** Line on which it starts, from 1. */
  line: number;
  /** Minutes since some day. */
  minute: number;
  from: string;
  text: string;
}

/** Minutes of silence after an answer with which a conversation is over, and after a question that nobody then answered. */
const OVER_AFTER = 60;
const UNANSWERED_AFTER = 24 * 60;
/** Characters, and turns, after which a conversation ends with its next answer: about 500 tokens. */
const MOST_CHARACTERS = 2000;
const MOST_TURNS = 20;

interface Turn {
  role: 'user' | 'assistant';
  content: string;
}

/** Cuts the messages of one chat into conversations, each of which begins with a question and ends with an answer. */
export class Conversations {
  private turns: Turn[] = [];
  private line = 1;
  private minute = 0;
  private characters = 0;
  /** Messages that are not learnt: own ones that answer nothing, and others' that got no answer. */
  readonly left = { opening: 0, unanswered: 0, other: 0 };
  /** Messages of the last turn. */
  private latest = 0;

  constructor(
    private readonly me: string,
    /** In a group it is said who asks. */
    private readonly isGroup: boolean,
  ) {}

  /** @returns the conversation that is over with this message, if one is */
  add({ line, minute, from, text }: Said): { line: number; turns: Turn[] } | undefined {
    const role = from === this.me ? 'assistant' : 'user';
    const last = this.turns.at(-1);
    const pause = minute - this.minute;
    const isOver =
      last?.role === 'assistant'
        ? pause > OVER_AFTER ||
          (role === 'user' && (this.characters > MOST_CHARACTERS || this.turns.length >= MOST_TURNS))
        : pause > UNANSWERED_AFTER;
    const done = isOver ? this.end() : undefined;
    this.minute = minute;
    if (role === 'assistant' && this.turns.length === 0) {
      this.left.opening++;
      return done;
    }
    if (this.turns.length === 0) this.line = line;
    const content = role === 'user' && this.isGroup ? `${from}: ${text}` : text;
    this.characters += content.length;
    const open = this.turns.at(-1);
    this.latest = open?.role === role ? this.latest + 1 : 1;
    if (open?.role === role) open.content += `\n${content}`;
    else this.turns.push({ role, content });
    return done;
  }

  /** The conversation that is open, up to its last answer. */
  end(): { line: number; turns: Turn[] } | undefined {
    const { turns, line } = this;
    if (turns.at(-1)?.role === 'user') {
      turns.pop();
      this.left.unanswered += this.latest;
    }
    this.turns = [];
    this.characters = 0;
    return turns.length > 0 ? { line, turns } : undefined;
  }
}

/** What the reader of a messenger's chats knows of a file. */
export interface ChatLayout {
  me: string;
  isGroup: boolean;
}

/**
 * Who the answers are of.
 * @param speakers how many messages each has written
 * @param guess who it may be; first among the choices of the refusal
 * @throws LoamError if the person has not said it, or nobody has that name
 */
export function chooseSpeaker(
  columns: Columns | undefined,
  speakers: ReadonlyMap<string, number>,
  { file, from, guess }: { file: string; from: string; guess: string | undefined },
): ChatLayout {
  const me = columns?.me?.normalize();
  const known = [...speakers].sort(([a, n], [b, m]) => Number(b === guess) - Number(a === guess) || m - n);
  const choices = known.map(([name]) => name).slice(0, MOST_SPEAKERS);
  if (me !== undefined && speakers.has(me)) return { me, isGroup: speakers.size > 2 };
  throw new LoamError({
    code: 'speaker-unknown',
    found:
      me === undefined
        ? `this is a chat of ${count(speakers.size)} people from ${from}, and it is not said who of them you are`
        : 'nobody in this chat has the name that was given',
    where: file,
    fix: 'name yourself as the chat does, with --columns me=NAME',
    choices,
  });
}

/** Names among which a person can choose. */
const MOST_SPEAKERS = 50;

/** The records of one chat, and then a remark on what of it is not learnt. */
export async function* conversationRecords(
  said: AsyncIterable<Said | 'other' | 'next chat'>,
  { me, isGroup }: ChatLayout,
): AsyncGenerator<RawRecord> {
  const conversations = new Conversations(me, isGroup);
  let index = 0;
  const record = ({ line, turns }: { line: number; turns: Turn[] }) => ({
    line,
    index: index++,
    value: { messages: turns },
  });
  for await (const one of said) {
    if (one === 'other') {
      conversations.left.other++;
      continue;
    }
    const done = one === 'next chat' ? conversations.end() : conversations.add(one);
    if (done) yield record(done);
  }
  const last = conversations.end();
  if (last) yield record(last);
  const { opening, unanswered, other } = conversations.left;
  const parts = [
    [unanswered, 'that you did not answer'],
    [opening, 'of yours that answer nothing'],
    [other, 'that are media, calls or notices'],
  ] as const;
  const told = parts.flatMap(([n, what]) => (n > 0 ? [`${count(n)} ${what}`] : []));
  if (told.length === 0) return;
  const reason = `messages of the chat that are not learnt: ${told.join(', ')}`;
  yield { line: 1, index: -1, remark: { kind: 'unlearnt', reason } };
}
