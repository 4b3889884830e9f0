import {
  BACKSLASH,
  CLOSE_LIST,
  CLOSE_OBJECT,
  COLON,
  COMMA,
  describeAt,
  OPEN_LIST,
  OPEN_OBJECT,
  QUOTE,
  skipSpace,
} from './jsonBytes.js';
import { JsonFault } from './jsonFault.js';

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
