import { LoamError, quote } from './errors.js';
import { readText } from './io.js';
import { type JsonObject, type JsonValue, type ParseJsonOptions, parseJson } from './json.js';

/** Typed access to parsed JSON, whose objects are maps: forgiving (a value of another kind counts as absent) or strict (`Fields`). */

/** A file that holds one JSON object of at most `most` bytes. Throws LoamError. */
export async function readJsonObject(path: string, most: number, options?: ParseJsonOptions): Promise<JsonObject> {
  const value = parseJson(await readText(path, most), path, options);
  if (isObject(value)) return value;
  throw new LoamError({ code: 'invalid-data', found: 'no object', expected: 'a JSON object', where: path });
}

export const isObject = (value: JsonValue | undefined): value is JsonObject => value instanceof Map;

export const isList = (value: JsonValue | undefined): value is readonly JsonValue[] => Array.isArray(value);

/** The value at a path of keys. */
export function at(value: JsonValue | undefined, ...keys: readonly string[]): JsonValue | undefined {
  let here = value;
  for (const key of keys) here = isObject(here) ? here.get(key) : undefined;
  return here;
}

export function textAt(value: JsonValue | undefined, ...keys: readonly string[]): string | undefined {
  const found = at(value, ...keys);
  return typeof found === 'string' ? found : undefined;
}

export function listAt(value: JsonValue | undefined, ...keys: readonly string[]): readonly JsonValue[] {
  const found = at(value, ...keys);
  return isList(found) ? found : [];
}

export function flagAt(value: JsonValue | undefined, ...keys: readonly string[]): boolean | undefined {
  const found = at(value, ...keys);
  return typeof found === 'boolean' ? found : undefined;
}

/** A whole number from 0 up. */
export function idAt(value: JsonValue | undefined, ...keys: readonly string[]): number | undefined {
  const found = at(value, ...keys);
  return typeof found === 'number' && Number.isSafeInteger(found) && found >= 0 ? found : undefined;
}

/** An object of a JSON file from outside; fields are read by name and kind, and LoamError is thrown for others. Unknown fields are ignored. */
export class Fields {
  constructor(
    private readonly fields: JsonObject,
    readonly where: string,
  ) {}

  /** @throws LoamError if the text is no JSON object */
  static parse(text: string, where: string): Fields {
    return Fields.of(parseJson(text, where), where);
  }

  private static of(value: JsonValue | undefined, where: string): Fields {
    if (value instanceof Map) return new Fields(value, where);
    throw new LoamError({
      code: 'invalid-data',
      found: value === undefined ? 'it is missing' : 'it is not an object',
      where,
    });
  }

  private wrong(key: string, expected: string): never {
    const value = this.fields.get(key);
    const found = value === undefined ? `${quote(key)} is missing` : `${quote(key)} is ${shown(value)}`;
    throw new LoamError({ code: 'invalid-data', found, expected, where: this.where });
  }

  has(key: string): boolean {
    return this.fields.has(key) && this.fields.get(key) !== null;
  }

  text(key: string): string {
    const value = this.fields.get(key);
    return typeof value === 'string' ? value : this.wrong(key, 'a text');
  }

  oneOf<T extends string>(key: string, choices: readonly T[]): T {
    const value = this.fields.get(key);
    return choices.find((choice) => choice === value) ?? this.wrong(key, `one of ${choices.join(', ')}`);
  }

  number(key: string): number {
    const value = this.fields.get(key);
    return typeof value === 'number' ? value : this.wrong(key, 'a number');
  }

  whole(key: string, min: number, max: number): number {
    const value = this.fields.get(key);
    if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max) return value as number;
    return this.wrong(key, `a whole number from ${min} to ${max}`);
  }

  flag(key: string): boolean {
    const value = this.fields.get(key);
    return typeof value === 'boolean' ? value : this.wrong(key, 'true or false');
  }

  object(key: string): Fields {
    return Fields.of(this.fields.get(key), `${this.where}, ${quote(key)}`);
  }

  /** The objects of a list of at most `most`. */
  objects(key: string, most: number): Fields[] {
    const value = this.fields.get(key);
    if (!Array.isArray(value) || value.length > most) return this.wrong(key, `a list of at most ${most} objects`);
    return value.map((entry, i) => Fields.of(entry as JsonValue, `${this.where}, ${quote(key)}, entry ${i + 1}`));
  }

  /** Everything as plain JSON, for handing on. */
  all(): Record<string, unknown> {
    return plain(this.fields) as Record<string, unknown>;
  }

  /** A list of lists of whole numbers from 0, none of them longer than `most`. */
  lists(key: string, most: number): number[][] {
    const value = this.fields.get(key);
    const isList = (list: unknown): list is unknown[] => Array.isArray(list) && list.length <= most;
    const isWhole = (number: unknown) => Number.isSafeInteger(number) && (number as number) >= 0;
    if (isList(value) && value.every((list) => isList(list) && list.every(isWhole))) return value as number[][];
    return this.wrong(key, 'a list of lists of whole numbers');
  }
}

function shown(value: JsonValue): string {
  // Repeated only if it looks like a word of a format: a text in the wrong file may be the user's.
  if (typeof value === 'string') return /^[\w./:-]{0,40}$/.test(value) ? quote(value) : 'another text';
  return typeof value === 'object' && value !== null ? 'something else' : String(value);
}

/** Maps as objects; a key `__proto__` becomes a field like any other. */
function plain(value: JsonValue): unknown {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, inner]) => [key, plain(inner)]));
  return Array.isArray(value) ? value.map((inner) => plain(inner as JsonValue)) : value;
}
