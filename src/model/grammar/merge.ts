import { LoamError, UnsupportedError, UsageError } from '../../base/errors.js';
import { isRecord } from '../../base/json.js';

/** Schemas that hold for one value together (`allOf`, a `$ref` with others beside it), as one schema. */

export type Schema = Record<string, unknown>;

/** Alternatives that come of alternatives in both. */
const MAX_PRODUCT = 200;

const largest = (a: unknown, b: unknown) => Math.max(Number(a), Number(b));
const smallest = (a: unknown, b: unknown) => Math.min(Number(a), Number(b));
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : [value]);

/** What two values of a keyword come to. */
const together: Record<string, (a: unknown, b: unknown) => unknown> = {
  minimum: largest,
  minLength: largest,
  minItems: largest,
  minProperties: largest,
  maximum: smallest,
  maxLength: smallest,
  maxItems: smallest,
  maxProperties: smallest,
  required: (a, b) => [...new Set([...list(a), ...list(b)])],
  type: (a, b) => {
    const [some, others] = [list(a), list(b)];
    const has = (types: unknown[], type: unknown) =>
      types.includes(type) || (type === 'integer' && types.includes('number'));
    return [
      ...some.filter((type) => has(others, type)),
      ...others.filter((type) => !some.includes(type) && has(some, type)),
    ];
  },
  enum: (a, b) => {
    const others = new Set(list(b).map((value) => JSON.stringify(value)));
    return list(a).filter((value) => others.has(JSON.stringify(value)));
  },
  anyOf: (a, b) => {
    const [some, others] = [list(a), list(b)];
    if (some.length * others.length > MAX_PRODUCT) {
      throw new UsageError({
        code: 'too-large',
        found: `${some.length * others.length} combinations of alternatives`,
        expected: `at most ${MAX_PRODUCT}`,
      });
    }
    return some.flatMap((one) => others.map((other) => ({ allOf: [one, other] })));
  },
};

/** Of annotations any will do; the definitions are found from the root. */
const ANNOTATIONS = new Set(['title', 'description', 'default', 'examples', 'example', '$comment', '$schema', '$id']);
const isAnnotation = (key: string) => ANNOTATIONS.has(key) || key === '$defs' || key === 'definitions';

export class Merger {
  /** Pairs have one object each, so that what leads back to itself is seen to. */
  private readonly pairs = new Map<unknown, Map<unknown, Schema>>();

  private pair(a: unknown, b: unknown): unknown {
    if (a === undefined || a === true || a === b) return b;
    if (b === undefined || b === true) return a;
    if (a === false || b === false) return false;
    const known = this.pairs.get(a) ?? new Map<unknown, Schema>();
    this.pairs.set(a, known);
    const both = known.get(b) ?? { allOf: [a, b] };
    known.set(b, both);
    return both;
  }

  merge(a: Schema, b: Schema, where: string): Schema {
    const merged: Schema = { ...a };
    // The items of one side stand at other places than those of the other.
    const isTuple = (one: Schema) => one.prefixItems !== undefined || Array.isArray(one.items);
    const rows = [a, b].map(({ items, prefixItems, additionalItems }) => [items, prefixItems, additionalItems]);
    const speak = rows.every((row) => row.some((one) => one !== undefined));
    if (speak && (isTuple(a) || isTuple(b)) && JSON.stringify(rows[0]) !== JSON.stringify(rows[1])) {
      throw new UnsupportedError({ found: 'two different values of "prefixItems" that hold together', where });
    }
    try {
      for (const [key, value] of Object.entries(b)) {
        if (!(key in a) || isAnnotation(key)) merged[key] = value;
        else if (key === 'items') merged[key] = this.pair(a[key], value);
        else if (Object.hasOwn(together, key)) merged[key] = together[key]!(a[key], value);
        else if (key.startsWith('exclusive') && typeof value === 'number' && typeof a[key] === 'number') {
          merged[key] = (key === 'exclusiveMinimum' ? largest : smallest)(a[key], value);
        } else if (key !== 'properties' && key !== 'additionalProperties') {
          if (JSON.stringify(a[key]) !== JSON.stringify(value)) {
            throw new UnsupportedError({ found: `two different values of "${key}" that hold together`, where });
          }
        }
      }
    } catch (error) {
      throw error instanceof LoamError && error.fault.where === undefined ? located(error, where) : error;
    }
    const properties = this.properties(a, b);
    if (properties) merged.properties = properties;
    const more = this.pair(a.additionalProperties, b.additionalProperties);
    if (more !== undefined) merged.additionalProperties = more;
    return merged;
  }

  /** What one side says of others holds for those that only the other side lists. */
  private properties(a: Schema, b: Schema): Schema | undefined {
    if (!isRecord(a.properties) && !isRecord(b.properties)) return undefined;
    const [ours, theirs] = [a, b].map(({ properties }) => (isRecord(properties) ? properties : {})) as [Schema, Schema];
    const merged: [string, unknown][] = [];
    for (const name of new Set([...Object.keys(ours), ...Object.keys(theirs)])) {
      const one = Object.hasOwn(ours, name) ? ours[name] : a.additionalProperties;
      const other = Object.hasOwn(theirs, name) ? theirs[name] : b.additionalProperties;
      const both = this.pair(one, other);
      if (both !== false) merged.push([name, both ?? true]);
    }
    return Object.fromEntries(merged);
  }
}

function located({ fault }: LoamError, where: string): LoamError {
  return fault.code === 'unsupported' ? new UnsupportedError({ ...fault, where }) : new UsageError({ ...fault, where });
}
