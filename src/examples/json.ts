import type { Pace } from './source.js';

/** The bytes JSON is made of, and how a stray one is named to a person. */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
export const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
export const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

export function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/** Offset of the first byte at or after `at` that is not white space; `bytes.length` if there is none. */
export function skipSpace(bytes: Uint8Array, at: number): number {
  while (at < bytes.length && isSpace(bytes[at])) at++;
  return at;
}

/** What stands at `at`, in words. Quotes punctuation and a few known words only: anything else may be the user's text. */
export function describeAt(bytes: Buffer, at: number, end: string): { found: string; fix?: string } {
  if (at >= bytes.length) return { found: end, fix: 'the text was cut off; write or copy it again' };
  const head = bytes.toString('utf8', at, at + 16);
  const word = /^-?[A-Za-z_$][\w$]*/.exec(head)?.[0];
  if (word === 'None' || word === 'True' || word === 'False') {
    return { found: `the Python word ${word}`, fix: 'in Python, write the file with json.dump' };
  }
  if (word !== undefined && /^-?(NaN|Infinity|undefined|nan|inf)$/.test(word)) {
    return { found: `the word ${word}, which JSON does not have`, fix: 'write null or leave the field out' };
  }
  if (word === 'null' || word === 'true' || word === 'false') return { found: `the word ${word}` };
  if (head[0] === "'")
    return { found: `a single quote (')`, fix: 'put texts in double quotes; in Python, use json.dump' };
  if (/^[“”„‟‘’«»]/.test(head)) {
    return { found: `a typographic quote (${head[0]})`, fix: 'replace it by a straight double quote (")' };
  }
  if (head.startsWith('//') || head.startsWith('/*') || head[0] === '#') {
    return { found: 'a comment, which JSON does not have', fix: 'take comments out' };
  }
  if (/^[\u00a0\u2000-\u200b\u3000\ufeff]/.test(head))
    return { found: 'a special space character', fix: 'take it out' };
  if (head[0] === '"') return { found: 'a text' };
  if (head[0] === '[') return { found: 'a list' };
  if (head[0] === '{') return { found: 'an object' };
  if (/^[!-/:-@[-`{-~]/.test(head)) return { found: head[0] === ',' ? 'a comma' : `the character '${head[0]}'` };
  if (/^[0-9]/.test(head)) return { found: 'a number' };
  if (/^\p{L}/u.test(head)) return { found: 'a letter' };
  return { found: 'a character that does not belong there' };
}

/** A syntax error in JSON: where, and what stands there. Becomes a LoamError with line and column, or a Problem of one line. */
export class JsonFault extends Error {
  constructor(
    /** Byte offset in the text that was read. */
    readonly offset: number,
    readonly found: string,
    readonly expected?: string,
    readonly fix?: string,
  ) {
    super(found);
  }
}

type Expect = 'value' | 'value or ]' | 'field name' | 'field name or }' | ':' | 'comma or end';

/** Keeps the explanation of one broken record from holding the event loop: it takes up to a second for this many. */
const MAX_EXPLAINED_BYTES = 32_000_000;

/** Offset behind the string that starts at `at`. */
function stringEnd(bytes: Buffer, at: number): number {
  for (let i = at + 1; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (byte === QUOTE) return i + 1;
    if (byte < 0x20) {
      const breaks = byte === 0x0a || byte === 0x0d;
      throw breaks
        ? new JsonFault(
            i,
            'a line break inside a text',
            'its closing double quote',
            'close the text, or write its line breaks as \\n',
          )
        : new JsonFault(
            i,
            `the control character U+${byte.toString(16).toUpperCase().padStart(4, '0')} inside a text`,
            'an escape',
            byte === 0x09 ? 'write tabs in texts as \\t' : undefined,
          );
    }
    if (byte !== BACKSLASH) continue;
    i++;
    const escaped = bytes.toString('latin1', i, i + 5);
    if (!/^(["\\/bfnrt]|u[0-9a-fA-F]{4})/.test(escaped) && i < bytes.length) {
      throw new JsonFault(
        i - 1,
        'a backslash that starts no escape',
        'one of \\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX',
        'write a plain backslash as \\\\',
      );
    }
  }
  throw new JsonFault(bytes.length, 'a text that is not closed', 'its closing double quote');
}

/**
 * Why JSON.parse refused a text, found by a strict walk of our own: V8's message has no position in some cases and quotes the
 * user's text in others. To be called only once JSON.parse has failed.
 * @param at offset of the value that failed; the text is read from there
 * @param end how to name the end of `bytes` ("the end of the line")
 */
export function explainJson(bytes: Buffer, at: number, end: string): JsonFault {
  try {
    return walk(bytes, at, end);
  } catch (error) {
    if (error instanceof JsonFault) return error;
    throw error;
  }
}

function walk(bytes: Buffer, start: number, end: string): JsonFault {
  // Brackets that are open; not recursion, which a hostile file could exhaust.
  const open: number[] = [];
  let expect: Expect = 'value';
  const stop = Math.min(bytes.length, start + MAX_EXPLAINED_BYTES);
  let at = skipSpace(bytes, start);
  while (at < stop) {
    const byte = bytes[at];
    if (expect === 'comma or end') {
      const list = open.at(-1) === OPEN_LIST;
      if (byte === COMMA) {
        const next = skipSpace(bytes, at + 1);
        if (bytes[next] === CLOSE_LIST || bytes[next] === CLOSE_OBJECT) {
          throw new JsonFault(at, 'a comma after the last entry', list ? ']' : '}', 'take the comma out');
        }
        expect = list ? 'value' : 'field name';
      } else if (byte === (list ? CLOSE_LIST : CLOSE_OBJECT)) {
        open.pop();
      } else {
        const { found, fix } = describeAt(bytes, at, end);
        throw new JsonFault(at, found, list ? 'a comma or ]' : 'a comma or }', fix);
      }
      at++;
    } else if (expect === ':') {
      if (byte !== COLON) throw new JsonFault(at, describeAt(bytes, at, end).found, 'a colon after the field name');
      expect = 'value';
      at++;
    } else if (expect === 'field name' || expect === 'field name or }') {
      if (byte === QUOTE) {
        at = stringEnd(bytes, at);
        expect = ':';
      } else if (byte === CLOSE_OBJECT && expect === 'field name or }') {
        open.pop();
        at++;
        expect = 'comma or end';
      } else {
        const { found, fix } = describeAt(bytes, at, end);
        throw new JsonFault(at, found, 'a field name in double quotes', fix);
      }
    } else if (byte === QUOTE) {
      at = stringEnd(bytes, at);
      expect = 'comma or end';
    } else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      open.push(byte);
      expect = byte === OPEN_LIST ? 'value or ]' : 'field name or }';
      at++;
    } else if (byte === CLOSE_LIST && expect === 'value or ]') {
      open.pop();
      at++;
      expect = 'comma or end';
    } else {
      at = scalarEnd(bytes, at, end);
      expect = 'comma or end';
    }
    at = skipSpace(bytes, at);
    if (expect === 'comma or end' && open.length === 0) {
      const { found, fix } = describeAt(bytes, at, end);
      return new JsonFault(at, `${found} after the end of the record`, undefined, fix);
    }
  }
  if (at < bytes.length) return new JsonFault(start, 'a very long record that is not JSON');
  const expected = open.at(-1) === OPEN_LIST ? 'a closing ]' : open.length > 0 ? 'a closing }' : 'a value';
  const { found, fix } = describeAt(bytes, bytes.length, end);
  return new JsonFault(bytes.length, found, expected, fix);
}

/** Offset behind a number, true, false or null. */
function scalarEnd(bytes: Buffer, at: number, end: string): number {
  const head = bytes.toString('latin1', at, at + 400);
  const scalar = /^(-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?|true|false|null)(?![\w.+-])/.exec(head);
  if (scalar !== null) return at + scalar[0].length;
  if (/^[-+.]?\d/.test(head)) throw new JsonFault(at, 'a number that JSON does not know', 'one such as 12 or -0.5');
  const { found, fix } = describeAt(bytes, at, end);
  throw new JsonFault(at, found, 'a value', fix);
}

/**
 * Finds where one JSON value ends, by brackets and quotes alone; JSON.parse judges the rest. In steps, because a value may be the
 * whole file. Runs at about the speed of memory for long texts and never recurses.
 */
export class ValueScanner {
  /** Behind the value once `advance` has returned true. */
  end: number;
  /** Most brackets that were open at once. */
  deepest = 0;
  /** The bytes cannot be one value: they end early, or a line ends inside a text. */
  broken = false;
  private depth = 0;
  private inText = false;

  constructor(
    private readonly bytes: Buffer,
    readonly start: number,
  ) {
    this.end = start;
  }

  /** Reads on for about `budget` bytes; true when there is nothing more to read (the end is found, or `broken`). */
  advance(budget: number): boolean {
    const { bytes } = this;
    const stop = Math.min(bytes.length, this.end + budget);
    let at = this.end;
    while (at < stop) {
      const byte = bytes[at]!;
      if (this.inText) {
        if (byte === QUOTE) {
          this.inText = false;
          if (this.depth === 0) return this.finish(at + 1);
        } else if (byte === BACKSLASH) {
          at++;
        } else if (byte === 0x0a || byte === 0x0d) {
          return this.fail(at);
        }
      } else if (byte === QUOTE) {
        this.inText = true;
      } else if (byte === OPEN_OBJECT || byte === OPEN_LIST) {
        if (++this.depth > this.deepest) this.deepest = this.depth;
      } else if (byte === CLOSE_OBJECT || byte === CLOSE_LIST) {
        // At depth 0 the bracket belongs to what surrounds a number or a word.
        if (this.depth === 0) return this.finish(at);
        if (--this.depth === 0) return this.finish(at + 1);
      } else if (this.depth === 0 && (byte === COMMA || isSpace(byte))) {
        return this.finish(at);
      }
      at++;
    }
    // An escape may have stepped past the last byte.
    this.end = Math.min(at, bytes.length);
    if (this.end < bytes.length) return false;
    return this.inText || this.depth > 0 ? this.fail(bytes.length) : this.finish(bytes.length);
  }

  private finish(end: number): true {
    this.end = end;
    return true;
  }

  private fail(at: number): true {
    this.broken = true;
    return this.finish(at);
  }
}

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
