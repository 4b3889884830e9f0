import type { TSchema } from 'typebox';
import Value from 'typebox/value';
import { LoamError } from '../../base/errors.js';
import { HttpError } from './errors.js';
import { fits, Mistakes, mistakesIn, partsOf, validate } from './validate.js';

/**
 * JSON bodies by their schema. A large one is read in pieces, each parsed and checked before the next: of a body full of mistakes only the
 * first few are looked for, nothing of it grows to objects that are fifty times its size, and other requests have their turn.
 */

/** Bytes that are parsed at once. */
const PIECE = 16 << 10;
/** The same for what cannot be read in pieces. */
const WHOLE = 1 << 20;
/** Milliseconds of work between two turns of the event loop. */
const TURN_MS = 10;
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);
/** Names that an object may have which its schema does not know. */
const MAX_UNKNOWN = 100;
/** What a body may hold, counted by its brackets and commas: as objects each takes some fifty bytes. */
const MAX_VALUES = 1_500_000;
/** Bytes that are counted between two looks at the time. */
const COUNTED = 256 << 10;

/** @throws HttpError: json; UsageError for what is not as the schema says; LoamError: too-large */
export async function readJson(bytes: Buffer, schema: TSchema | undefined): Promise<unknown> {
  const text = bytes.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK)
    ? bytes.subarray(BYTE_ORDER_MARK.length)
    : bytes;
  if (text.length > PIECE && schema) return await new Reader(text).whole(schema);
  const value = parse(text);
  if (schema) validate(schema, value, 'body');
  return value;
}

/** The parser's own message quotes the text. */
function notJson(): HttpError {
  return new HttpError('json', 'the body is not valid JSON in UTF-8');
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function parse(bytes: Uint8Array, before = '', after = ''): unknown {
  try {
    const text = `${before}${decoder.decode(bytes)}${after}`;
    // A key named __proto__ would come to mean something as soon as the object is copied. It may be written with escapes.
    return /__proto__|\\u/.test(text) ? JSON.parse(text, withoutProto) : JSON.parse(text);
  } catch {
    throw notJson();
  }
}

function withoutProto(this: unknown, key: string, value: unknown): unknown {
  return key === '__proto__' ? undefined : value;
}

const [QUOTE, BACKSLASH, COMMA, COLON] = [0x22, 0x5c, 0x2c, 0x3a];
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

class Reader {
  private at = 0;
  private turn = performance.now() + TURN_MS;
  private readonly mistakes = new Mistakes();

  constructor(private readonly bytes: Buffer) {}

  async whole(schema: TSchema): Promise<unknown> {
    await this.count();
    const value = await this.value([schema], 'body');
    this.space();
    if (this.at < this.bytes.length) throw notJson();
    this.mistakes.end();
    return value;
  }

  /** Looks at what there is before anything is made of it. @throws LoamError: too-large */
  private async count(): Promise<void> {
    const { bytes } = this;
    // Each takes a byte.
    if (bytes.length <= MAX_VALUES) return;
    let values = 0;
    let inText = false;
    for (let from = 0, next = COUNTED; from < bytes.length; next += COUNTED) {
      for (const stop = Math.min(next, bytes.length); from < stop; from++) {
        const c = bytes[from];
        if (c === QUOTE) inText = !inText;
        else if (inText) from += c === BACKSLASH ? 1 : 0;
        else if (c === COMMA || c === OPEN_LIST || c === OPEN_OBJECT) values++;
      }
      if (values > MAX_VALUES) {
        const found = `the body holds more than ${MAX_VALUES.toLocaleString('en')} values`;
        throw new LoamError({ code: 'too-large', found, fix: 'send it in parts, or a data set as a file' });
      }
      await this.yield();
    }
  }

  /** @param schemas one of which it has to satisfy */
  private async value(schemas: readonly TSchema[], place: string): Promise<unknown> {
    this.space();
    const first = this.bytes[this.at];
    const fitting = schemas.flatMap((one) => partsOf(one).anyOf ?? [one]);
    const leads = (one: TSchema) => (first === OPEN_LIST ? partsOf(one).items : partsOf(one).properties) !== undefined;
    // Settings, a recipe: a schema that does not say what is in it can only be held against the whole.
    const isWhole = !fitting.some(leads) && fitting.some((one) => Object.keys(one).length > 0);
    const { ends } = this.scan(this.at, isWhole ? WHOLE : PIECE);
    if (ends !== undefined || (first !== OPEN_LIST && first !== OPEN_OBJECT)) {
      const end = ends ?? (first === QUOTE ? this.endOfText(this.at) : this.bytes.length);
      const value = parse(this.bytes.subarray(this.at, end));
      this.at = end;
      this.check(schemas, value, place);
      return value;
    }
    if (first === OPEN_LIST) return await this.list(fitting, place);
    return await this.object(fitting, place);
  }

  private async list(schemas: readonly TSchema[], place: string): Promise<unknown[]> {
    const lists = schemas.filter((one) => partsOf(one).items);
    this.require(lists, schemas, place);
    const items = lists.map((one) => partsOf(one).items!);
    const most = Math.max(...lists.map((one) => (one as { maxItems?: number }).maxItems ?? Number.POSITIVE_INFINITY));
    const open = items.length === 1 && partsOf(items[0]!).properties && !isClosed(items[0]!) ? items[0] : undefined;
    const values: unknown[] = [];
    this.at++;
    for (let closed = false; !closed; ) {
      this.space();
      const { comma, closes } = this.scan(this.at, PIECE);
      const end = closes ?? comma;
      if (end === undefined) {
        // One that is large by itself.
        values.push(await this.value(items, `${place}.${values.length}`));
        this.space();
        closed = this.bytes[this.at] === CLOSE_LIST;
        if (!closed && this.bytes[this.at] !== COMMA) throw notJson();
      } else {
        const piece = parse(this.bytes.subarray(this.at, end), '[', ']') as unknown[];
        closed = end === closes;
        // Nothing stands between two commas, or before the bracket, of a list that has begun.
        if (piece.length === 0 && (!closed || values.length > 0)) throw notJson();
        if (closed && this.bytes[end] !== CLOSE_LIST) throw notJson();
        for (const item of piece) {
          this.check(items, item, `${place}.${values.length}`);
          // What the schema does not know is not kept.
          values.push(open ? Value.Clean(open, item) : item);
        }
        this.at = end;
      }
      this.at++;
      if (values.length > most)
        throw new LoamError({ code: 'too-large', found: `${place} has more than ${most} items` });
      await this.yield();
    }
    if (lists.length === 1) {
      for (const mistake of mistakesIn({ ...lists[0]!, items: {} }, values, place)) this.mistakes.add(mistake);
    }
    return values;
  }

  private async object(schemas: readonly TSchema[], place: string): Promise<Record<string, unknown>> {
    const objects = schemas.filter((one) => partsOf(one).properties);
    this.require(objects, schemas, place);
    const value: Record<string, unknown> = {};
    let unknown = 0;
    this.at++;
    for (let closed = false; !closed; ) {
      this.space();
      if (this.bytes[this.at] === CLOSE_OBJECT && Object.keys(value).length === 0) break;
      if (this.bytes[this.at] !== QUOTE) throw notJson();
      const end = this.endOfText(this.at);
      const name = parse(this.bytes.subarray(this.at, end)) as string;
      this.at = end;
      this.space();
      if (this.bytes[this.at++] !== COLON) throw notJson();
      const inner = objects.flatMap((one) => {
        const { properties } = partsOf(one);
        return Object.hasOwn(properties!, name) ? [properties![name]!] : [];
      });
      if (inner.length === 0 && ++unknown > MAX_UNKNOWN) {
        throw new LoamError({ code: 'too-large', found: `${place} has more than ${MAX_UNKNOWN} unknown properties` });
      }
      if (inner.length === 0 && objects.every(isClosed)) {
        this.mistakes.add(`${place} must not have additional properties: ${name.slice(0, 40)}`);
      }
      const read = await this.value(inner.length > 0 ? inner : [{}], `${place}.${name.slice(0, 40)}`);
      if (name !== '__proto__') value[name] = read;
      this.space();
      closed = this.bytes[this.at] === CLOSE_OBJECT;
      if (!closed && this.bytes[this.at] !== COMMA) throw notJson();
      if (!closed) this.at++;
    }
    this.at++;
    // Of one shape what stands in it has been checked; which of several it is tells only the whole.
    const [shape] = objects;
    if (objects.length > 1) this.check(objects, value, place);
    else {
      const required = ((shape as { required?: string[] }).required ?? []).filter(
        (name) => !Object.hasOwn(value, name),
      );
      if (required.length > 0) this.mistakes.add(`${place} must have required properties ${required.join(', ')}`);
    }
    return value;
  }

  /** What is large has to be of a shape that is known: nothing else of that size has a use. */
  private require(fitting: readonly TSchema[], schemas: readonly TSchema[], place: string): void {
    if (fitting.length > 0) return;
    const isList = this.bytes[this.at] === OPEN_LIST;
    for (const one of schemas)
      for (const mistake of mistakesIn(one, isList ? [] : {}, place)) this.mistakes.add(mistake);
    this.mistakes.end();
    throw new LoamError({ code: 'too-large', found: `${place} is larger than it may be` });
  }

  private check(schemas: readonly TSchema[], value: unknown, place: string): void {
    if (schemas.some((one) => fits(one, value))) return;
    for (const one of schemas) for (const mistake of mistakesIn(one, value, place)) this.mistakes.add(mistake);
  }

  private space(): void {
    while (isSpace(this.bytes[this.at])) this.at++;
  }

  /**
   * Looks ahead over values that stand side by side, at most so many bytes.
   * @returns the end of the first; the last comma between them; the bracket that closes the list they are in
   */
  private scan(from: number, most: number): { ends?: number; comma?: number; closes?: number } {
    const { bytes } = this;
    const stop = Math.min(bytes.length, from + most);
    let depth = 0;
    let begun = false;
    let ends: number | undefined;
    let comma: number | undefined;
    for (let at = from; at < stop; at++) {
      const c = bytes[at];
      if (c === QUOTE) {
        const end = this.endOfText(at, stop);
        if (end > stop) break;
        at = end - 1;
        if (depth === 0) ends ??= end;
      } else if (c === OPEN_LIST || c === OPEN_OBJECT) depth++;
      else if (c === CLOSE_LIST || c === CLOSE_OBJECT) {
        if (depth === 0) return { ends: ends ?? at, comma, closes: at };
        if (--depth === 0) ends ??= at + 1;
      } else if (c === COMMA && depth === 0) {
        ends ??= at;
        comma = at;
      } else if (depth === 0 && begun && isSpace(c)) ends ??= at;
      begun ||= !isSpace(c);
    }
    // The end of the body ends a value, too.
    if (ends === undefined && stop === bytes.length && depth === 0) ends = stop;
    return { ends, comma };
  }

  /** Behind the quotation mark that ends a text, or behind `stop`. */
  private endOfText(from: number, stop = this.bytes.length): number {
    const { bytes } = this;
    for (let at = from + 1; at < stop; at++) {
      if (bytes[at] === BACKSLASH) at++;
      else if (bytes[at] === QUOTE) return at + 1;
    }
    return stop + 1;
  }

  private async yield(): Promise<void> {
    if (performance.now() < this.turn) return;
    await new Promise((resolve) => setImmediate(resolve));
    this.turn = performance.now() + TURN_MS;
  }
}

/** Whether an object of this schema has no other properties than it names. */
function isClosed(schema: TSchema): boolean {
  return (schema as { additionalProperties?: unknown }).additionalProperties === false;
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}
