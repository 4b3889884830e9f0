import type { JsonObject, JsonValue } from '../util/parseJson.js';
import { quote } from '../util/quote.js';
import { isObject } from './json.js';
import type { Problems } from './Problems.js';

/** Typed access to config.json: what is of another kind than it should be is a problem, null counts as absent. */
export class Config {
  constructor(
    private readonly values: JsonObject,
    private readonly problems: Problems,
  ) {}

  has(key: string): boolean {
    return (this.values.get(key) ?? null) !== null;
  }

  raw(key: string): JsonValue | undefined {
    return this.values.get(key) ?? undefined;
  }

  /** A whole number from 1 to `most`. */
  whole(key: string, most: number, fallback: number): number {
    const value = this.raw(key);
    if (value === undefined) return fallback;
    if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= most) return value;
    this.wrong(key, value, `a whole number from 1 to ${most}`);
    return fallback;
  }

  /** A positive number, not beyond what f32 can hold. */
  positive(key: string, fallback: number): number;
  positive(key: string): number | undefined;
  positive(key: string, fallback?: number): number | undefined {
    const value = this.raw(key);
    if (value === undefined) return fallback;
    if (typeof value === 'number' && value > 0 && Math.fround(value) > 0 && Number.isFinite(Math.fround(value))) {
      return value;
    }
    this.wrong(key, value, 'a positive number');
    return fallback;
  }

  text(key: string): string | undefined {
    const value = this.raw(key);
    if (value === undefined || typeof value === 'string') return value;
    this.wrong(key, value, 'a text');
    return undefined;
  }

  flag(key: string, fallback: boolean): boolean {
    const value = this.raw(key);
    if (value === undefined) return fallback;
    if (typeof value === 'boolean') return value;
    this.wrong(key, value, 'true or false');
    return fallback;
  }

  object(key: string): Config | undefined {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    if (isObject(value)) return new Config(value, this.problems);
    this.wrong(key, value, 'an object');
    return undefined;
  }

  private wrong(key: string, value: JsonValue, expected: string): void {
    const shown = typeof value === 'string' ? quote(value) : typeof value === 'object' ? 'another kind' : String(value);
    this.problems.add(`${key} is ${shown}, expected ${expected}`);
  }
}
