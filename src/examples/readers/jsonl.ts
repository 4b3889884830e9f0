import { count } from '../../base/format.js';
import { explainJson, JsonFault, OPEN_LIST, OPEN_OBJECT } from '../../base/json.js';
import { ValueScanner } from '../../base/jsonScanner.js';
import { BadRecord, MAX_ALL_FIELDS, MAX_DEPTH, MAX_FIELDS } from '../example.js';
import { isObject } from '../fields.js';
import { parseText } from './jsonText.js';
import { checkRecordBytes, columnIn, type Reader, rawRecord, type TextLine, textLines, textOf } from './reader.js';

/** JSON lines: a record to a line. A broken line costs its record and no other. */
export const jsonl: Reader<true> = {
  container: 'jsonl',

  /** After JSON, which leaves what begins like it to lines. */
  detect({ bytes }) {
    const { start } = textLines(bytes).next().value!;
    return bytes[start] === OPEN_OBJECT || bytes[start] === OPEN_LIST || looksLikeLines(bytes) || undefined;
  },

  *read(bytes) {
    let index = 0;
    for (const line of textLines(bytes)) {
      const raw = rawRecord({ line: line.line, index: index++ }, () => lineRecord(bytes, line));
      yield 'fault' in raw ? { ...raw, text: textOf(bytes.subarray(line.start, line.end)) } : raw;
    }
  },

  write(records) {
    return `${records.map((record) => JSON.stringify(record)).join('\n')}\n`;
  },
};

/** Lines that are looked at to tell JSON lines with a broken start from something else. */
const HEAD_LINES = 10;
const HEAD_LINE_BYTES = 1_000_000;

/** One of the first lines is a whole object: the file is JSON lines although its first line is not. */
export function looksLikeLines(bytes: Buffer): boolean {
  let seen = 0;
  for (const line of textLines(bytes)) {
    if (seen++ > HEAD_LINES) return false;
    // Not indented: a list entry that is printed on a line of its own usually is.
    if (bytes[line.lineStart] !== OPEN_OBJECT || line.end - line.start > HEAD_LINE_BYTES) continue;
    if (isLineRecord(bytes, line)) return true;
  }
  return false;
}

/** Whether the line is a record, and nothing else. */
export function isLineRecord(bytes: Buffer, line: TextLine): boolean {
  return 'value' in rawRecord({ line: line.line, index: 0 }, () => lineRecord(bytes, line));
}

const LINE_END = 'the end of the line';

/** @throws BadRecord */
function lineRecord(bytes: Buffer, { lineStart, start, end }: TextLine): unknown {
  const text = bytes.subarray(start, end);
  checkRecordBytes(text);
  const scanner = new ValueScanner(text, 0);
  scanner.advance(text.length);
  try {
    if (scanner.broken || scanner.end < text.length) throw explainJson(text, 0, LINE_END);
    return parseRecord(text, spanOf(scanner), LINE_END);
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error;
    const { offset, found, expected, fix } = error;
    const column = columnIn(bytes, lineStart, start + offset);
    const wanted = expected === undefined ? '' : `, expected ${expected}`;
    throw new BadRecord('syntax', `column ${column}: ${found}${wanted}${fix === undefined ? '' : `; ${fix}`}`);
  }
}

/** Where one value stands in the file. */
export interface JsonSpan {
  start: number;
  end: number;
  /** Most brackets open at once inside it. */
  depth: number;
  /** Fields of all its objects, and of the one that has most. */
  fields: number;
  widest: number;
}

/** The span that a scanner has found. */
export function spanOf({ start, end, deepest, fields, widest }: ValueScanner): JsonSpan {
  return { start, end, depth: deepest, fields, widest };
}

/**
 * The value of a record.
 * @param fileEnd how to name the end of `bytes`
 * @throws BadRecord when its size, encoding or nesting is refused
 * @throws JsonFault when it is not JSON
 */
export function parseRecord(bytes: Buffer, span: JsonSpan, fileEnd: string): unknown {
  const { start, end, depth, fields, widest } = span;
  const record = bytes.subarray(start, end);
  checkRecordBytes(record);
  if (depth > MAX_DEPTH) throw new BadRecord('too-long', `it is nested more than ${MAX_DEPTH} levels deep`);
  if (widest > MAX_FIELDS || fields > MAX_ALL_FIELDS) {
    const [found, most] = widest > MAX_FIELDS ? [widest, MAX_FIELDS] : [fields, MAX_ALL_FIELDS];
    throw new BadRecord('too-long', `it has ${count(found)} fields, the limit is ${count(most)}`);
  }
  let value: unknown;
  try {
    value = parseText(record.toString('utf8'));
  } catch {
    // Not given on as cause: V8's message quotes the user's text.
    throw explainJson(bytes, start, fileEnd);
  }
  return withLists(rowOf(value));
}

/** A record itself where it stands beside its number, as the hub's viewer gives rows. */
function rowOf(value: unknown): unknown {
  if (!isObject(value) || !isObject(value.row) || !Object.hasOwn(value, 'row_idx')) return value;
  const { row, truncated_cells: cut } = value;
  if (Array.isArray(cut) && cut.length > 0) throw new BadRecord('too-long', 'the hub cut it short ("truncated_cells")');
  return row;
}

/** Fields that hold a list of messages, which some tools write as JSON in a text. */
const LISTS = ['messages', 'conversations', 'conversation', 'prompt', 'completion', 'chosen', 'rejected'];

/** A record with such texts as the lists that they are; what is no JSON stays. */
export function withLists(value: unknown): unknown {
  if (!isObject(value)) return value;
  for (const name of LISTS) {
    const text = Object.hasOwn(value, name) ? value[name] : undefined;
    if (typeof text !== 'string' || !/^\s*\[\s*\{\s*"/.test(text)) continue;
    const bytes = Buffer.from(text);
    const scanner = new ValueScanner(bytes, 0);
    scanner.advance(bytes.length);
    const { depth, fields, widest } = spanOf(scanner);
    if (depth > MAX_DEPTH || widest > MAX_FIELDS || fields > MAX_ALL_FIELDS) continue;
    try {
      value[name] = parseText(text);
    } catch {
      // A text that only begins like one.
    }
  }
  return value;
}
