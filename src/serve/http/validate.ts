import type { Static, TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import Value from 'typebox/value';
import { UsageError } from '../../base/errors.js';
import { isRecord } from '../../base/json.js';

/** Holds values from outside against their schemas, and says what is wrong with them: the first mistakes, however many there are. */

/** Mistakes named in a message; the first says enough. */
const NAMED = 3;

const checks = new WeakMap<TSchema, (value: unknown) => boolean>();

/** Whether a value is as a schema of the contract says. Compiled once, a check is some forty times as fast: a body holds millions. */
export function fits(schema: TSchema, value: unknown): boolean {
  let check = checks.get(schema);
  if (!check) {
    const compiled = Compile(schema);
    check = (one) => compiled.Check(one);
    checks.set(schema, check);
  }
  return check(value);
}

/**
 * The message names fields and what they should be, and quotes nothing of what came.
 * @throws UsageError
 */
export function validate<S extends TSchema>(schema: S, value: unknown, what: string): asserts value is Static<S> {
  if (fits(schema, value)) return;
  const mistakes = new Mistakes();
  for (const mistake of mistakesIn(schema, value, what)) mistakes.add(mistake);
  mistakes.end();
}

/** Collects the first few; then it is enough. */
export class Mistakes {
  private readonly found = new Set<string>();

  add(mistake: string): void {
    this.found.add(mistake);
    if (this.found.size >= NAMED) this.end();
  }

  /** @throws UsageError if there are any */
  end(): void {
    if (this.found.size > 0) throw new UsageError({ found: [...this.found].join('; ') });
  }
}

/** What of a schema says where to go on. */
interface Parts {
  items?: TSchema;
  properties?: Record<string, TSchema>;
  anyOf?: TSchema[];
}

export const partsOf = (schema: TSchema): Parts => schema as Parts;

/** Finds one after the other, so that whoever has enough goes no further: the library's own list of them all may take a minute. */
export function* mistakesIn(schema: TSchema, value: unknown, place: string): Generator<string> {
  if (fits(schema, value)) return;
  const { items, properties, anyOf } = partsOf(schema);
  if (items && Array.isArray(value)) {
    yield* own({ ...schema, items: {} }, value, place);
    for (const [i, item] of value.entries()) yield* mistakesIn(items, item, `${place}.${i}`);
  } else if (properties && isRecord(value)) {
    // Each property may be anything here; of those that should not be there one is enough.
    let unknown = 0;
    const known = Object.fromEntries(
      Object.entries(value).filter(([name]) => Object.hasOwn(properties, name) || unknown++ === 0),
    );
    const open = Object.fromEntries(Object.keys(properties).map((name) => [name, {}]));
    yield* own({ ...schema, properties: open }, known, place);
    for (const [name, inner] of Object.entries(properties)) {
      if (Object.hasOwn(value, name)) yield* mistakesIn(inner, value[name], `${place}.${name}`);
    }
  } else if (anyOf) {
    for (const one of anyOf) yield* mistakesIn(one, value, place);
  } else yield* own(schema, value, place);
}

/** Mistakes of a value itself, not of what is in it. */
function* own(schema: TSchema, value: unknown, place: string): Generator<string> {
  for (const { keyword, instancePath, message, params } of Value.Errors(schema, value)) {
    if (keyword === 'boolean') continue;
    const where = [place, ...instancePath.split('/').slice(1)].join('.');
    const { additionalProperties: unknown } = params as { additionalProperties?: unknown };
    const which = Array.isArray(unknown) ? `: ${unknown.map((name) => String(name).slice(0, 40)).join(', ')}` : '';
    yield `${where} ${message}${which}`;
  }
}
