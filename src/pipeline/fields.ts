import { LoamError } from '../util/errors.js';
import { type JsonObject, type JsonValue, parseJson } from '../util/parseJson.js';
import { quote } from '../util/quote.js';

/** An object of a JSON file from outside, whose fields are asked for by name and kind. Unknown fields are let be. */
export class Fields {
  constructor(
    private readonly fields: JsonObject,
    readonly where: string,
  ) {}

  /** @throws LoamError where the text is no JSON object */
  static parse(text: string, where: string): Fields {
    return Fields.of(parseJson(text, where), where);
  }

  private static of(value: JsonValue | undefined, where: string): Fields {
    if (value instanceof Map) return new Fields(value, where);
    throw new LoamError({ found: value === undefined ? 'it is missing' : 'it is not an object', where });
  }

  private wrong(key: string, expected: string): never {
    const value = this.fields.get(key);
    const found = value === undefined ? `${quote(key)} is missing` : `${quote(key)} is ${shown(value)}`;
    throw new LoamError({ found, expected, where: this.where });
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
  if (typeof value === 'string') return quote(value);
  return typeof value === 'object' && value !== null ? 'something else' : String(value);
}

/** Maps as objects; a key `__proto__` becomes a field like any other. */
function plain(value: JsonValue): unknown {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, inner]) => [key, plain(inner)]));
  return Array.isArray(value) ? value.map((inner) => plain(inner as JsonValue)) : value;
}
