import { LoamError, quote } from './errors.js';

/** Objects are maps: a key such as `__proto__` is a key like any other. */
export type JsonObject = ReadonlyMap<string, JsonValue>;
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;

/** Deeper than any file of the formats Loam reads; deeper nesting would exhaust the stack. */
const MAX_DEPTH = 128;

export interface ParseJsonOptions {
  /**
   * What becomes of a whole number beyond 2^53, which a number cannot hold: refused, or the nearest one that it can. tokenizer_config.json
   * has 10^30 for "no limit".
   */
  bigIntegers?: 'refuse' | 'round';
}

/**
 * Reads JSON (RFC 8259) out of a file from outside. Stricter than JSON.parse: a key that stands twice in an object, nesting beyond 128, and
 * numbers that JavaScript cannot hold are refused.
 * @param where names the file in errors
 * @throws LoamError with the place
 */
export function parseJson(text: string, where: string, options: ParseJsonOptions = {}): JsonValue {
  return new Parser(text, where, options.bigIntegers ?? 'refuse').whole();
}

const space = /[ \t\n\r]*/y;
const number = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids them within strings.
const string = /"((?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*)"/y;

class Parser {
  private at = 0;

  constructor(
    private readonly text: string,
    private readonly where: string,
    private readonly bigIntegers: 'refuse' | 'round',
  ) {}

  whole(): JsonValue {
    const value = this.value(0);
    this.skip();
    if (this.at < this.text.length) this.fail('something follows the value', 'the end of the text');
    return value;
  }

  private fail(found: string, expected?: string): never {
    const line = this.text.slice(0, this.at).split('\n').length;
    const column = this.at - this.text.lastIndexOf('\n', this.at - 1);
    throw new LoamError({ found, expected, where: `${this.where}, line ${line}, column ${column}` });
  }

  private match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.text);
    if (match) this.at = pattern.lastIndex;
    return match;
  }

  private skip(): void {
    this.match(space);
  }

  /** Whether `word` is next; takes it. */
  private take(word: string): boolean {
    if (!this.text.startsWith(word, this.at)) return false;
    this.at += word.length;
    return true;
  }

  private value(depth: number): JsonValue {
    if (depth > MAX_DEPTH) this.fail(`values nested more than ${MAX_DEPTH} deep`);
    this.skip();
    switch (this.text[this.at]) {
      case '{':
        return this.object(depth);
      case '[':
        return this.list(depth);
      case '"':
        return this.string();
      case 't':
        if (this.take('true')) return true;
        break;
      case 'f':
        if (this.take('false')) return false;
        break;
      case 'n':
        if (this.take('null')) return null;
        break;
      default:
        return this.number();
    }
    this.fail('an unknown word', 'a JSON value');
  }

  private object(depth: number): JsonObject {
    this.at++;
    const object = new Map<string, JsonValue>();
    this.skip();
    if (this.take('}')) return object;
    do {
      this.skip();
      const key = this.string();
      if (object.has(key)) this.fail(`the key ${quote(key)} stands twice in one object`, 'once');
      this.skip();
      if (!this.take(':')) this.fail('no colon after a key', ':');
      object.set(key, this.value(depth + 1));
      this.skip();
    } while (this.take(','));
    if (!this.take('}')) this.fail(this.end(), ', or }');
    return object;
  }

  private list(depth: number): JsonValue[] {
    this.at++;
    const list: JsonValue[] = [];
    this.skip();
    if (this.take(']')) return list;
    do {
      list.push(this.value(depth + 1));
      this.skip();
    } while (this.take(','));
    if (!this.take(']')) this.fail(this.end(), ', or ]');
    return list;
  }

  private string(): string {
    const match = this.match(string);
    if (!match)
      this.fail(this.text[this.at] === '"' ? 'a text that does not end or has a wrong escape' : this.end(), '"');
    return match[1]!.includes('\\') ? (JSON.parse(match[0]) as string) : match[1]!;
  }

  private number(): number {
    const from = this.at;
    const match = this.match(number);
    if (!match) this.fail(this.end(), 'a JSON value');
    const value = Number(match[0]);
    const isWhole = match[1] === undefined && match[2] === undefined;
    if (!Number.isFinite(value) || (isWhole && this.bigIntegers === 'refuse' && !Number.isSafeInteger(value))) {
      this.at = from;
      this.fail(`the number ${quote(match[0])}`, isWhole ? 'a whole number within 2^53' : 'one that a f64 can hold');
    }
    return value;
  }

  private end(): string {
    return this.at >= this.text.length ? 'the text ends' : 'a character that does not belong there';
  }
}
