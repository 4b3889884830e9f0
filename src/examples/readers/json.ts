import { LoamError } from '../../base/errors.js';
import {
  describeAt,
  explainJson,
  explainLongJson,
  JsonFault,
  OPEN_LIST,
  OPEN_OBJECT,
  skipSpace,
} from '../../base/json.js';
import { ValueScanner } from '../../base/jsonScanner.js';
import { BadRecord, MAX_FIELDS, quoteName } from '../example.js';
import { isKnownField } from '../fields.js';
import type { Pace } from '../source.js';
import { isLineRecord, type JsonSpan, looksLikeLines, parseRecord, spanOf, withLists } from './jsonl.js';
import { LineCounter, type Reader, rawRecord, type TextFile, textLines } from './reader.js';

/** Which values of a JSON file are its records. */
export type JsonLayout =
  /** The entries of the list at `at`. `unread`: an object wraps it, and holds other lists that might be meant. */
  | { kind: 'list'; at: number; unread?: { name: string; offset: number }[] }
  /** Each top-level value. */
  | { kind: 'sequence'; at: number }
  /** An object with a column for each field, as pandas writes a table: the values by number, or in a list. */
  | { kind: 'columns'; at: number; columns: Column[] };

interface Column {
  name: string;
  value: JsonSpan;
}

/**
 * JSON: a list of records, an object that holds one, or records one after another. Behind the first syntax error nothing can be told
 * from anything, so it ends the reading.
 */
export const json = {
  container: 'json',

  async detect({ bytes }: TextFile, pace: Pace): Promise<JsonLayout | undefined> {
    const at = skipSpace(bytes, 0);
    const isList = bytes[at] === OPEN_LIST;
    if (!isList && bytes[at] !== OPEN_OBJECT) return undefined;
    const first = textLines(bytes).next().value!;
    const second = bytes[skipSpace(bytes, first.end)];
    // Of a list, only another list or object makes it a line among lines; after anything else it is a list with a fault behind it.
    const more = second !== undefined && (!isList || second === OPEN_LIST || second === OPEN_OBJECT);
    if (more && isLineRecord(bytes, first)) return undefined;
    if (!isList) return objectLayout(bytes, at, first.end, pace);
    return { kind: (await isBareChat(bytes, at, pace)) ? 'sequence' : 'list', at };
  },

  async *read(bytes: Buffer, layout: JsonLayout, pace: Pace) {
    const lines = new LineCounter(bytes);
    if (layout.kind === 'list') {
      const unreadLines = new LineCounter(bytes);
      for (const { name, offset } of layout.unread ?? []) {
        const remark = { kind: 'unread-list', reason: `the list ${quoteName(name)} is not read` } as const;
        yield { line: unreadLines.lineOf(offset), index: -1, remark };
      }
    }
    let index = 0;
    if (layout.kind === 'columns') {
      const line = lines.lineOf(layout.at);
      for (const record of rowsOf(bytes, layout.columns)) yield { line, index: index++, value: record };
      return;
    }
    for await (const span of layout.kind === 'list'
      ? listSpans(bytes, layout, pace)
      : sequenceSpans(bytes, layout.at, pace)) {
      yield rawRecord({ line: lines.lineOf(span.start), index: index++ }, () => parseRecord(bytes, span, END));
    }
  },

  write(records: readonly unknown[]) {
    return `[\n${records.map((record) => JSON.stringify(record, null, 1)).join(',\n')}\n]\n`;
  },
} satisfies Reader<JsonLayout>;

/** Names under which an object wraps its list of records, in the order in which they are preferred. */
const WRAPPERS = ['data', 'train', 'examples', 'records', 'rows', 'items', 'dataset'];

/** Undefined where the object at `at` is the first of JSON lines. */
async function objectLayout(bytes: Buffer, at: number, lineEnd: number, pace: Pace): Promise<JsonLayout | undefined> {
  let found: Awaited<ReturnType<typeof objectSpans>>;
  try {
    found = await objectSpans(bytes, at, pace);
  } catch (error) {
    if (error instanceof JsonFault && looksLikeLines(bytes)) return undefined;
    throw error;
  }
  const { fields, end } = found;
  const sequence: JsonLayout = { kind: 'sequence', at };
  const next = skipSpace(bytes, end);
  if (next < bytes.length) {
    // The object ends within the first line, or that line is broken: its fault is its own.
    if (end <= lineEnd) return undefined;
    if (bytes[next] === OPEN_OBJECT || bytes[next] === OPEN_LIST) return sequence;
    const fix = 'put the records into a list: [ before the first, ] after the last, commas between';
    throw new JsonFault(next, `${describeAt(bytes, next, '').found} after the end of the first record`, undefined, fix);
  }
  const known = fields.filter(({ name }) => isKnownField(name));
  if (known.length > 0) {
    return known.every((field) => isColumn(bytes, field)) ? { kind: 'columns', at, columns: fields } : sequence;
  }
  const lists = fields.filter(({ value }) => bytes[value.start] === OPEN_LIST);
  const named = WRAPPERS.map((name) => lists.find((list) => list.name === name)).find((list) => list !== undefined);
  const records = lists.filter(({ value }) => {
    const entry = bytes[skipSpace(bytes, value.start + 1)];
    return entry === OPEN_OBJECT || entry === OPEN_LIST;
  });
  const chosen = named ?? (records.length === 1 ? records[0] : undefined);
  if (chosen === undefined) return sequence;
  const unread = records.filter((list) => list !== chosen).map(({ name, value }) => ({ name, offset: value.start }));
  return { kind: 'list', at: chosen.value.start, unread };
}

/** Whether a field holds the values of many records. A conversation is a list of messages, and its column a list of lists. */
function isColumn(bytes: Buffer, { value }: Column): boolean {
  if (bytes[value.start] === OPEN_OBJECT) return true;
  return bytes[value.start] === OPEN_LIST && bytes[skipSpace(bytes, value.start + 1)] !== OPEN_OBJECT;
}

/** The records of a table by columns. @throws LoamError for a table that is too large to be read at once, or not one */
function* rowsOf(bytes: Buffer, columns: readonly Column[]): Generator<Record<string, unknown>, void> {
  const found = 'this file holds a table by columns';
  const fix = 'write it by rows: in pandas, orient="records", lines=True';
  let read: (readonly [string, ReadonlyMap<string, unknown>])[];
  try {
    read = columns.map(({ name, value }) => {
      const column = parseRecord(bytes, value, END);
      if (typeof column !== 'object' || column === null) throw new BadRecord('wrong-type', `"${name}" is no column`);
      return [name, new Map(Object.entries(column))] as const;
    });
  } catch (error) {
    if (!(error instanceof BadRecord)) throw error;
    throw new LoamError({ code: 'too-large', found: `${found}, which cannot be read (${error.reason})`, fix });
  }
  for (const key of new Set(read.flatMap(([, column]) => [...column.keys()]))) {
    const record = Object.create(null) as Record<string, unknown>;
    for (const [name, column] of read) if (column.has(key)) record[name] = column.get(key);
    yield withLists(record) as Record<string, unknown>;
  }
}

/** Whether the list at `at` is one conversation that stands in the file without a list around it. */
async function isBareChat(bytes: Buffer, at: number, pace: Pace): Promise<boolean> {
  const first = skipSpace(bytes, at + 1);
  if (bytes[first] !== OPEN_OBJECT) return false;
  try {
    const value = parseRecord(bytes, await jsonSpan(bytes, first, pace), END) as object;
    const has = (name: string) => Object.hasOwn(value, name);
    return (has('role') && has('content')) || (has('from') && has('value'));
  } catch (error) {
    if (error instanceof JsonFault || error instanceof BadRecord) return false;
    throw error;
  }
}

const END = 'the end of the file';
/** About 2 ms of scanning. */
const STEP_BYTES = 1 << 19;
const MAX_NAME_BYTES = 1000;
const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const CLOSE_LIST = 0x5d;
const CLOSE_OBJECT = 0x7d;

function explain(bytes: Buffer, at: number, pace: Pace): Promise<JsonFault> {
  return explainLongJson(bytes, at, END, async () => {
    if (pace.due) await pace.rest();
  });
}

/** The span of the value at `at`. @throws JsonFault when no value ends there. */
async function jsonSpan(bytes: Buffer, at: number, pace: Pace): Promise<JsonSpan> {
  const scanner = new ValueScanner(bytes, at);
  while (!scanner.advance(STEP_BYTES)) if (pace.due) await pace.rest();
  if (scanner.broken || scanner.end === at) throw await explain(bytes, at, pace);
  return spanOf(scanner);
}

/**
 * Spans of the entries of the list at `list.at`. The consumer parses each span before it asks for the next, so that the first syntax
 * error of the file is the one that is reported. Without `unread` nothing may follow the list.
 */
export async function* listSpans(
  bytes: Buffer,
  list: { at: number; unread?: readonly unknown[] },
  pace: Pace,
): AsyncGenerator<JsonSpan> {
  let at = skipSpace(bytes, list.at + 1);
  while (bytes[at] !== CLOSE_LIST) {
    const span = await jsonSpan(bytes, at, pace);
    yield span;
    at = skipSpace(bytes, span.end);
    if (bytes[at] === CLOSE_LIST) break;
    if (bytes[at] !== COMMA) {
      const { found, fix } = describeAt(bytes, at, END);
      throw new JsonFault(at, found, 'a comma or ] after the record', fix);
    }
    const comma = at;
    at = skipSpace(bytes, at + 1);
    if (bytes[at] === CLOSE_LIST) {
      throw new JsonFault(comma, 'a comma after the last record', ']', 'take the comma out');
    }
  }
  const end = skipSpace(bytes, at + 1);
  if (list.unread !== undefined || end >= bytes.length) return;
  const { found, fix } = describeAt(bytes, end, '');
  throw new JsonFault(end, `${found} after the end of the list`, 'the end of the file', fix);
}

/** Spans of the values that stand one after another from `at` to the end of the file, with nothing between them. */
async function* sequenceSpans(bytes: Buffer, at: number, pace: Pace): AsyncGenerator<JsonSpan> {
  for (at = skipSpace(bytes, at); at < bytes.length; ) {
    const span = await jsonSpan(bytes, at, pace);
    yield span;
    at = skipSpace(bytes, span.end);
  }
}

/** Fields of the object whose `{` is at `at`, without parsing their values, and the offset behind its `}`. */
export async function objectSpans(
  bytes: Buffer,
  at: number,
  pace: Pace,
): Promise<{ fields: { name: string; value: JsonSpan }[]; end: number }> {
  const fields: { name: string; value: JsonSpan }[] = [];
  const start = at;
  at = skipSpace(bytes, at + 1);
  while (bytes[at] !== CLOSE_OBJECT || fields.length > 0) {
    const name = bytes[at] === QUOTE ? await jsonSpan(bytes, at, pace) : undefined;
    const colon = name === undefined ? at : skipSpace(bytes, name.end);
    if (name === undefined || bytes[colon] !== COLON) throw await explain(bytes, start, pace);
    const value = await jsonSpan(bytes, skipSpace(bytes, colon + 1), pace);
    fields.push({ name: fieldName(bytes, name), value });
    if (fields.length > MAX_FIELDS) throw new JsonFault(start, `an object with over ${MAX_FIELDS} fields`, 'a list');
    at = skipSpace(bytes, value.end);
    if (bytes[at] === CLOSE_OBJECT) break;
    if (bytes[at] !== COMMA) throw await explain(bytes, start, pace);
    at = skipSpace(bytes, at + 1);
  }
  return { fields, end: at + 1 };
}

/** Of a field; empty for a name too long to be one that Loam knows. */
function fieldName(bytes: Buffer, { start, end }: JsonSpan): string {
  if (end - start > MAX_NAME_BYTES) return '';
  try {
    return String(JSON.parse(bytes.toString('utf8', start, end)));
  } catch {
    throw explainJson(bytes, start, END);
  }
}
