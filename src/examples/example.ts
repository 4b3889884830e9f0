import { count } from '../base/format.js';
import type { Tool, ToolCall } from '../model/message.js';

/** What the rest of Loam sees of a user's example file. Nothing here knows of tokens. */

/** The content of an example file that is not on a disk. */
export interface NamedBytes {
  /** Stands in messages where a file's path would. */
  name: string;
  bytes: Uint8Array;
  /** Its format, if it is known; otherwise detected from content and name. */
  container?: string;
  /** Records to skip, as `ExampleSource.index`. */
  excluded?: readonly number[];
  /** Which of its fields are which, where their names do not show it (see `Columns`). */
  columns?: string;
}

/** `text`: not a turn of a conversation but a plain text, which stands alone and is learnt as it is, without a chat template. */
export type Role = 'system' | 'user' | 'assistant' | 'tool' | 'text';

export interface Message {
  role: Role;
  content: string;
  /** Of an assistant message: the thought before it, without marks around it. */
  reasoning?: string;
  /** Of an assistant message: the tools that it calls; its content may be empty then. */
  calls?: ToolCall[];
  /** Of a tool message, the result of a call: the tool's name, and the `id` of the call. */
  name?: string;
  callId?: string;
  /**
   * `false` on an assistant message that is read but not learnt (OpenAI's `"weight": 0`, or `"train": false`). Absent everywhere
   * else: every other assistant message is learnt. Ask `isTrained`.
   */
  train?: false;
  /** On a text that continues in the next record: the white space between the two. Absent: the text ends here. */
  continues?: string;
}

/** What is right as the last answer of a conversation. */
export interface Task {
  /** Any of these is right; the first is the answer in the conversation. */
  accepted: readonly string[];
  /** What the answer is to be chosen from, in the record's order; absent if the record has no choices. */
  choices?: readonly string[];
}

interface ExampleSource {
  file: string;
  /** Line on which the record starts, from 1, as an editor counts. */
  line: number;
  /** Number of the record in the file, from 0; refused records count too. */
  index: number;
}

/**
 * One training example: a conversation, or a single `text`. A conversation has at most one system message, which is the first; then
 * user and assistant in turn, user first unless the assistant begins with a greeting, which is not learnt; at least one trained assistant
 * message. Tool messages, one per call, stand between an assistant message that calls tools and the next one.
 */
export interface Example {
  messages: Message[];
  /** What its answers may call. */
  tools?: Tool[];
  source: ExampleSource;
  /** Of a record that is read as a question (`questions.ts`). */
  task?: Task;
}

export type ProblemKind =
  // The record is refused.
  | 'syntax'
  | 'not-a-record'
  | 'missing-field'
  | 'wrong-type'
  | 'empty'
  | 'too-long'
  | 'encoding'
  | 'role'
  | 'order'
  | 'columns'
  | 'template'
  | 'unwanted'
  // The record is left out because an equal one stands before it.
  | 'duplicate'
  // The record is used, with a remark.
  | 'conflict'
  | 'converted'
  | 'damaged-text'
  | 'joined'
  | 'unlearnt-end'
  | 'unlearnt'
  | 'loose-quotes'
  // About the file.
  | 'unread-list'
  | 'unused';

export interface Problem {
  /** `error`: the record is not used. `warning`: nothing is lost by it (a repeated record counts as such: its first copy is used). */
  severity: 'error' | 'warning';
  kind: ProblemKind;
  /** Line on which the record starts, from 1. */
  line: number;
  /** As `ExampleSource.index`; -1 for a remark about the whole file. */
  index: number;
  /** A clause about the record ("\"output\" is empty"). Names fields, never quotes their text. */
  reason: string;
}

/** What one record holds. `alpaca`: instruction, input, output; `pairs`: any other question and answer pair; `text`: a plain text. */
export type Shape = 'alpaca' | 'pairs' | 'messages' | 'sharegpt' | 'text';

export interface Dataset {
  file: string;
  /** `container`: the reader's name, such as `jsonl`. `mixed`: the usable records have several shapes. */
  format: { container: string; shape: Shape | 'mixed' };
  /** In file order. */
  examples: Example[];
  /**
   * In file order; `records` = `examples.length` + problems of severity error + problems of kind duplicate, + those that are excluded.
   */
  problems: Problem[];
  /** Number of records found, good and bad. */
  records: number;
  /** Fields (columns) that were seen and are not used, most frequent first; the names are at most 30 characters. */
  unusedFields: { name: string; records: number }[];
  /** Of the file's bytes, lower-case hex; if records are excluded, of that hash and their numbers. */
  sha256: string;
}

/** One record as cut from its file: its parsed value, or what kept it from being parsed. */
export type RawRecord = { line: number; index: number } & (
  | { value: unknown; remarks?: Remark[] }
  // `text`: the record as it stands, where it is at hand.
  | { fault: Remark; text?: string }
  // About the file, with -1 as index.
  | { remark: Remark }
);

/** What is wrong with a record, or a warning about one that is used anyway. */
export interface Remark {
  kind: ProblemKind;
  reason: string;
}

/**
 * Thrown while one record is interpreted: it cannot be used. Caught per record and turned into a Problem; never leaves this folder. No
 * Error, whose stack nobody would see and which takes longer than reading the record.
 */
export class BadRecord {
  constructor(
    readonly kind: ProblemKind,
    readonly reason: string,
  ) {}
}

/**
 * Where a record stands, as a person finds it: "record 3, line 12", both from 1. The number says more than the line in a file that
 * some program wrote on a single one. A remark about the whole file (index -1) has the line alone.
 */
export function placeOf({ line, index }: { line: number; index: number }): string {
  return index < 0 ? `line ${count(line)}` : `record ${count(index + 1)}, line ${count(line)}`;
}

/** Longest field name that a message repeats: a longer one may be the user's text in the wrong place. */
const MAX_NAME_CHARACTERS = 30;

/** A field name as it may stand in a message: quoted, without control or direction characters; a long one is only called so. */
export function quoteName(name: string): string {
  if (name.length > MAX_NAME_CHARACTERS) return 'a long name';
  return `"${name.replace(/[\p{C}\p{Z}"\\]/gu, (c) => (c === ' ' ? ' ' : '?'))}"`;
}

/** Whether the tokens of a message are learnt: every assistant message, unless its file says otherwise, and every text. */
export function isTrained({ role, train }: Message): boolean {
  return role === 'text' || (role === 'assistant' && train !== false);
}

/** An example that a chat template renders. */
export interface Conversation extends Example {
  messages: (Message & { role: Exclude<Role, 'text'> })[];
}

export function isConversation(example: Example): example is Conversation {
  return textOf(example) === undefined;
}

/** The text of an example that is no conversation. */
export function textOf({ messages }: Pick<Example, 'messages'>): (Message & { role: 'text' }) | undefined {
  const [first] = messages;
  return first?.role === 'text' ? (first as Message & { role: 'text' }) : undefined;
}

/** Limits on files from outside. Each refuses with a sentence that names it. */

/**
 * Largest example file. The file is held in memory once while it is read, and its text once more as examples; twice this is what
 * a laptop can spare and a phone cannot, and no device tunes on that much text in a week.
 */
export const MAX_FILE_BYTES = 512 * 1024 * 1024;

/** Most records in a file: a record costs about 500 bytes of heap beside its text, so a million keeps below Node's default heap. */
export const MAX_RECORDS = 1_000_000;

/** Longest single text: some 250,000 tokens, far past the context of every model Loam tunes. */
export const MAX_FIELD_BYTES = 1_000_000;

/** Longest record, all its messages together. Parsing one blocks the event loop, for about 50 ms at this size. */
export const MAX_RECORD_BYTES = 8_000_000;

/** Deepest nesting of a record. The formats need 4; unused fields may hold more. */
export const MAX_DEPTH = 64;

/** Most fields of one object of a record, and of all its objects: distinct names are what makes parsing slow. */
export const MAX_FIELDS = 10_000;
export const MAX_ALL_FIELDS = 200_000;
