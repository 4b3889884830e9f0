import { LoamError } from './errors.js';

/**
 * JSON from outside (RFC 8259), with positions: a strict parser that says where a text breaks the format and what stands there, and quotes
 * nothing of it. `jsonScanner.ts` finds where a value ends without parsing it.
 */

/** Objects are maps: a key such as `__proto__` is a key like any other. */
export type JsonObject = ReadonlyMap<string, JsonValue>;
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;

/** Deeper than any file of the formats Loam reads; who walks the value recursively relies on a limit. */
const MAX_DEPTH = 128;

/** Whether a value of JSON.parse is an object. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export interface ParseJsonOptions {
  /**
   * What becomes of a whole number beyond 2^53, which a number cannot hold: refused, or the nearest one that it can. tokenizer_config.json
   * has 10^30 for "no limit".
   */
  bigIntegers?: 'refuse' | 'round';
}

/**
 * Parses JSON out of a file from outside. Stricter than JSON.parse: a key that stands twice in an object, nesting beyond 128, and
 * numbers that JavaScript cannot hold are refused.
 * @param where names the file in errors
 * @throws LoamError (damaged) with line and column
 */
export function parseJson(text: string, where: string, { bigIntegers = 'refuse' }: ParseJsonOptions = {}): JsonValue {
  const bytes = Buffer.from(text);
  const parser = new Parser(bytes, 0, 'the end of the text', bigIntegers);
  try {
    const value = parser.value();
    if (parser.at < bytes.length) throw parser.trailing('value');
    return value;
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error;
    const { offset, found, expected, fix } = error;
    const before = bytes.toString('utf8', 0, offset).split('\n');
    const place = `${where}, line ${before.length}, column ${before.at(-1)!.length + 1}`;
    throw new LoamError({ code: 'damaged', found, expected, where: place, fix });
  }
}

/** A syntax error in JSON: where, and what stands there. The caller knows the file's name and turns it into an error of its own. */
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

/** Keeps the explanation of one broken value from holding the event loop: it takes some 50 ms for this many. */
const MAX_EXPLAINED_BYTES = 1_000_000;
/** The same where other work has its turn meanwhile. */
const MAX_SLOWLY_EXPLAINED_BYTES = 32_000_000;
/** Bytes between two turns of other work. */
const STEP_BYTES = 100_000;
/** What JSON.parse has no limit for needs one where it is explained. */
const MAX_EXPLAINED_DEPTH = 10_000;

/**
 * Why JSON.parse refused a text: V8's message has no position in some cases and quotes the user's text in others. To be called only
 * once JSON.parse has failed.
 * @param at offset of the value that failed; the text is read from there
 * @param end how to name the end of `bytes` ("the end of the line")
 */
export function explainJson(bytes: Buffer, at: number, end: string): JsonFault {
  return withoutPause(explanation(bytes, at, end, MAX_EXPLAINED_BYTES));
}

/** What steps come to, taken one after the other. */
function withoutPause<T>(steps: Generator<void, T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** The same for a value that may be a whole file. @param turn gives other work its turn if it is time */
export async function explainLongJson(
  bytes: Buffer,
  at: number,
  end: string,
  turn: () => Promise<void>,
): Promise<JsonFault> {
  const steps = explanation(bytes, at, end, MAX_SLOWLY_EXPLAINED_BYTES);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    await turn();
  }
}

function* explanation(bytes: Buffer, at: number, end: string, most: number): Generator<void, JsonFault> {
  const stop = at + most;
  const parser = new Parser(bytes.subarray(0, stop), at, end);
  try {
    yield* parser.steps();
    return parser.trailing('record');
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error;
    const isCut = error.offset >= stop && stop < bytes.length;
    return isCut ? new JsonFault(at, 'a very long record that is not JSON') : error;
  }
}

export const QUOTE = 0x22;
export const BACKSLASH = 0x5c;
export const COMMA = 0x2c;
export const COLON = 0x3a;
export const OPEN_LIST = 0x5b;
export const CLOSE_LIST = 0x5d;
export const OPEN_OBJECT = 0x7b;
export const CLOSE_OBJECT = 0x7d;

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
  if (head[0] === "'") {
    return { found: `a single quote (')`, fix: 'put texts in double quotes; in Python, use json.dump' };
  }
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

/** Longest number or word that is looked at. */
const MAX_SCALAR_BYTES = 400;
const SCALAR = /^(?:(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)|true|false|null)(?![\w.+-])/;

function endsScalar(byte: number | undefined): boolean {
  return byte === undefined || byte === COMMA || byte === CLOSE_LIST || byte === CLOSE_OBJECT || isSpace(byte);
}

/** Whether the bytes behind a backslash are an escape: a letter of RFC 8259, or u with four hex digits. */
function isEscape(bytes: Buffer, at: number): boolean {
  const letter = String.fromCharCode(bytes[at]!);
  if (letter !== 'u') return '"\\/bfnrt'.includes(letter);
  return /^[0-9a-fA-F]{4}$/.test(bytes.toString('latin1', at + 1, at + 5));
}

/** Reads one value from `at` on; a JsonFault says where it is none. Not recursive: a hostile file could exhaust the stack. */
class Parser {
  /** Lists and objects that have begun, with the field of an object that waits for its value. */
  private readonly open: { into: JsonValue[] | Map<string, JsonValue>; key: string }[] = [];

  constructor(
    private readonly bytes: Buffer,
    public at: number,
    /** How to name the end of `bytes`. */
    private readonly end: string,
    /** Without it, what JSON.parse lets pass is let pass. */
    private readonly bigIntegers?: ParseJsonOptions['bigIntegers'],
  ) {}

  /** The value, with `at` behind it and the white space that follows. */
  value(): JsonValue {
    return withoutPause(this.steps());
  }

  /** The same with a pause every some bytes. Without `bigIntegers` nothing is kept: the value is null. */
  *steps(): Generator<void, JsonValue> {
    const { open } = this;
    const keeps = this.bigIntegers !== undefined;
    const deepest = keeps ? MAX_DEPTH : MAX_EXPLAINED_DEPTH;
    let pause = this.at + STEP_BYTES;
    this.skip();
    for (;;) {
      if (this.at >= pause) {
        yield;
        pause = this.at + STEP_BYTES;
      }
      let value: JsonValue | undefined;
      const byte = this.bytes[this.at];
      if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
        if (open.length >= deepest) this.fail(`values nested more than ${deepest} deep`);
        const into = byte === OPEN_LIST ? [] : new Map<string, JsonValue>();
        this.at++;
        this.skip();
        if (this.bytes[this.at] !== (byte === OPEN_LIST ? CLOSE_LIST : CLOSE_OBJECT)) {
          open.push({ into, key: '' });
          if (into instanceof Map) open.at(-1)!.key = this.key(into);
          continue;
        }
        this.at++;
        value = into;
      } else {
        value = byte === QUOTE ? this.text() : this.scalar();
      }
      // Puts the value where it belongs, and every list or object that ends with it.
      for (this.skip(); ; this.skip()) {
        const last = open.at(-1);
        if (last === undefined) return value ?? null;
        const { into } = last;
        if (!keeps) value = null;
        else if (into instanceof Map) into.set(last.key, value);
        else into.push(value);
        if (this.bytes[this.at] === COMMA) {
          this.next(into);
          if (into instanceof Map) last.key = this.key(into);
          break;
        }
        const isList = !(into instanceof Map);
        if (this.bytes[this.at] !== (isList ? CLOSE_LIST : CLOSE_OBJECT)) {
          this.fail(undefined, `a comma or ${isList ? ']' : '}'}`);
        }
        this.at++;
        open.pop();
        value = keeps ? into : null;
      }
    }
  }

  /** What stands behind a whole value. */
  trailing(what: string): JsonFault {
    const { found, fix } = describeAt(this.bytes, this.at, this.end);
    return new JsonFault(this.at, `${found} after the end of the ${what}`, undefined, fix);
  }

  private fail(found: string | undefined, expected?: string): never {
    const seen = found === undefined ? describeAt(this.bytes, this.at, this.end) : { found };
    const last = this.at < this.bytes.length ? undefined : this.open.at(-1);
    const closing = last && `a closing ${last.into instanceof Map ? '}' : ']'}`;
    throw new JsonFault(this.at, seen.found, closing ?? expected, seen.fix);
  }

  private skip(): void {
    this.at = skipSpace(this.bytes, this.at);
  }

  /** Steps over the comma behind an entry. */
  private next(into: object): void {
    const comma = this.at++;
    this.skip();
    const byte = this.bytes[this.at];
    if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) {
      const close = into instanceof Map ? '}' : ']';
      throw new JsonFault(comma, 'a comma after the last entry', close, 'take the comma out');
    }
  }

  /** The name of a field, with `at` behind its colon. */
  private key(into: ReadonlyMap<string, JsonValue>): string {
    if (this.bytes[this.at] !== QUOTE) this.fail(undefined, 'a field name in double quotes');
    const key = this.text();
    if (this.bigIntegers && into.has(key)) this.fail('a key that stands twice in one object', 'once');
    this.skip();
    if (this.bytes[this.at] !== COLON) this.fail(undefined, 'a colon after the field name');
    this.at++;
    this.skip();
    return key;
  }

  private text(): string {
    const { bytes } = this;
    const start = this.at;
    let escaped = false;
    for (let i = start + 1; i < bytes.length; i++) {
      const byte = bytes[i]!;
      if (byte === QUOTE) {
        this.at = i + 1;
        if (this.bigIntegers === undefined) return '';
        return escaped
          ? (JSON.parse(bytes.toString('utf8', start, i + 1)) as string)
          : bytes.toString('utf8', start + 1, i);
      }
      if (byte === 0x0a || byte === 0x0d) {
        const fix = 'close the text, or write its line breaks as \\n';
        throw new JsonFault(i, 'a line break inside a text', 'its closing double quote', fix);
      }
      if (byte < 0x20) {
        const code = byte.toString(16).toUpperCase().padStart(4, '0');
        const fix = byte === 0x09 ? 'write tabs in texts as \\t' : undefined;
        throw new JsonFault(i, `the control character U+${code} inside a text`, 'an escape', fix);
      }
      if (byte !== BACKSLASH) continue;
      escaped = true;
      i++;
      if (i < bytes.length && !isEscape(bytes, i)) {
        const expected = 'one of \\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX';
        throw new JsonFault(i - 1, 'a backslash that starts no escape', expected, 'write a plain backslash as \\\\');
      }
    }
    throw new JsonFault(bytes.length, 'a text that is not closed', 'its closing double quote');
  }

  /** A number, true, false or null. */
  private scalar(): JsonValue {
    let stop = this.at;
    while (stop < this.at + MAX_SCALAR_BYTES && !endsScalar(this.bytes[stop])) stop++;
    const head = this.bytes.toString('latin1', this.at, stop);
    const [word, digits] = SCALAR.exec(head) ?? [];
    if (word === undefined) {
      if (/^[-+.]?\d/.test(head)) this.fail('a number that JSON does not know', 'one such as 12 or -0.5');
      this.fail(undefined, 'a value');
    }
    if (digits === undefined) {
      this.at += word.length;
      return word === 'null' ? null : word === 'true';
    }
    const value = Number(digits);
    const isWhole = /^-?\d+$/.test(digits);
    if (this.bigIntegers && !Number.isFinite(value)) this.fail('a number that is too large', 'one that a f64 can hold');
    if (this.bigIntegers === 'refuse' && isWhole && !Number.isSafeInteger(value)) {
      this.fail('a number that is too large', 'a whole number within 2^53');
    }
    this.at += word.length;
    return value;
  }
}
