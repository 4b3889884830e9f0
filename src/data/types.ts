/** What the rest of Loam sees of a user's example file. Nothing here knows of tokens. */

/** The content of an example file that is not on a disk. */
export interface NamedBytes {
  /** Stands in messages where a file's path would. */
  name: string;
  bytes: Uint8Array;
  /** Numbers of records that are passed over, as `ExampleSource.index`. */
  excluded?: readonly number[];
}

export type Role = 'system' | 'user' | 'assistant';

export interface Message {
  role: Role;
  content: string;
  /**
   * `false` on an assistant message that is read but not learnt (OpenAI's `"weight": 0`, or `"train": false`). Absent everywhere
   * else: every other assistant message is learnt. Ask `isTrained`.
   */
  train?: false;
}

export interface ExampleSource {
  file: string;
  /** Line on which the record starts, from 1, as an editor counts. */
  line: number;
  /** Number of the record in the file, from 0; refused records count too. */
  index: number;
}

/**
 * One training example: a conversation. At most one system message, which is the first; then user and assistant in turn, user
 * first; at least one trained assistant message.
 */
export interface Example {
  messages: Message[];
  source: ExampleSource;
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
  // The record is left out because an equal one stands before it.
  | 'duplicate'
  // The record is used, with a remark.
  | 'conflict'
  | 'converted'
  | 'damaged-text'
  | 'joined'
  | 'unlearnt-end'
  | 'loose-quotes'
  // About the file.
  | 'unread-list';

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

/** How the file holds its records. */
export type Container = 'json' | 'jsonl' | 'csv';

/** How one record says question and answer. `alpaca`: instruction, input, output; `pairs`: any other question and answer pair. */
export type Shape = 'alpaca' | 'pairs' | 'messages' | 'sharegpt';

export interface Dataset {
  file: string;
  /** `mixed`: the usable records have several shapes. */
  format: { container: Container; shape: Shape | 'mixed' };
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
  /** Of the file's bytes, lower-case hex; where records are excluded, of that hash and their numbers. */
  sha256: string;
}

/** One record as cut from its file: either its parsed value or what kept it from being parsed. */
export type RawRecord = { line: number; index: number } & (
  | { value: unknown; remarks?: Remark[] }
  | { fault: { kind: ProblemKind; reason: string } }
);

/** A warning about a record that is used. */
export interface Remark {
  kind: ProblemKind;
  reason: string;
}
