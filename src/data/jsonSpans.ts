import { explainJson } from './explainJson.js';
import { CLOSE_LIST, CLOSE_OBJECT, COLON, COMMA, describeAt, QUOTE, skipSpace } from './jsonBytes.js';
import { JsonFault } from './jsonFault.js';
import type { Pace } from './pace.js';
import { ValueScanner } from './valueScanner.js';

const END = 'the end of the file';
/** About 2 ms of scanning. */
const STEP_BYTES = 1 << 19;
/** An object that wraps a list of records has a handful of fields; each costs memory here. */
const MAX_FIELDS = 10_000;
const MAX_NAME_BYTES = 1000;

/** Where one value stands in the file. */
export interface JsonSpan {
  start: number;
  end: number;
  /** Most brackets open at once inside it. */
  depth: number;
}

/** The span of the value at `at`. @throws JsonFault when no value ends there. */
export async function jsonSpan(bytes: Buffer, at: number, pace: Pace): Promise<JsonSpan> {
  const scanner = new ValueScanner(bytes, at);
  while (!scanner.advance(STEP_BYTES)) if (pace.due) await pace.rest();
  if (scanner.broken || scanner.end === at) throw explainJson(bytes, at, END);
  return { start: at, end: scanner.end, depth: scanner.deepest };
}

/**
 * Spans of the entries of the list whose `[` is at `at`; returns the offset behind its `]`. The consumer parses each span before
 * it asks for the next, so that the first syntax error of the file is the one that is reported.
 */
export async function* listSpans(bytes: Buffer, at: number, pace: Pace): AsyncGenerator<JsonSpan, number> {
  at = skipSpace(bytes, at + 1);
  if (bytes[at] === CLOSE_LIST) return at + 1;
  for (;;) {
    const span = await jsonSpan(bytes, at, pace);
    yield span;
    at = skipSpace(bytes, span.end);
    if (bytes[at] === CLOSE_LIST) return at + 1;
    if (bytes[at] !== COMMA) {
      const { found, fix } = describeAt(bytes, at, END);
      throw new JsonFault(at, found, 'a comma or ] after the record', fix);
    }
    const comma = at;
    at = skipSpace(bytes, at + 1);
    if (bytes[at] === CLOSE_LIST)
      throw new JsonFault(comma, 'a comma after the last record', ']', 'take the comma out');
  }
}

/** Spans of the values that stand one after another from `at` to the end of the file, with nothing between them. */
export async function* sequenceSpans(bytes: Buffer, at: number, pace: Pace): AsyncGenerator<JsonSpan> {
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
    if (name === undefined || bytes[colon] !== COLON) throw explainJson(bytes, start, END);
    const value = await jsonSpan(bytes, skipSpace(bytes, colon + 1), pace);
    fields.push({ name: fieldName(bytes, name), value });
    if (fields.length > MAX_FIELDS) throw new JsonFault(start, `an object with over ${MAX_FIELDS} fields`, 'a list');
    at = skipSpace(bytes, value.end);
    if (bytes[at] === CLOSE_OBJECT) break;
    if (bytes[at] !== COMMA) throw explainJson(bytes, start, END);
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
