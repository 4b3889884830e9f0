import { UsageError } from '../../base/errors.js';
import { isRecord } from '../../base/json.js';
import type { Schema } from './merge.js';
import type { Bound } from './numbers.js';

/** What keywords of schemas say, read with care: they come from a stranger. */

/** Entries of a list. */
const MAX_LIST = 2000;

export function isEmpty(value: unknown): boolean {
  return isRecord(value) && Object.keys(value).length === 0;
}

export const TYPES = ['object', 'array', 'string', 'number', 'integer', 'boolean', 'null'] as const;
export type Type = (typeof TYPES)[number];
/** Keywords that speak of values of one type: a schema with them and without a type is taken to mean that one. */
export const SPEAKS_OF: readonly (readonly [type: Type, keywords: readonly string[]])[] = [
  ['object', ['properties', 'required', 'additionalProperties', 'minProperties', 'maxProperties']],
  ['array', ['items', 'prefixItems', 'minItems', 'maxItems', 'additionalItems']],
  ['string', ['minLength', 'maxLength', 'pattern', 'format']],
  ['number', ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum']],
];
/** What a text of each type begins with. */
export const OPENING: Record<Type, string> = {
  object: 'o',
  array: 'a',
  string: 's',
  number: 'n',
  integer: 'n',
  boolean: 'b',
  null: '0',
};

export const typeOf = (value: unknown): Type => {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value as Type;
};

/** The constants of a schema that allows for no others, as JSON. */
export function constantsOf(schema: Schema): string[] | undefined {
  if (Array.isArray(schema.enum)) return schema.enum.map((value) => JSON.stringify(value));
  return 'const' in schema ? [JSON.stringify(schema.const)] : undefined;
}

export function listOf(value: unknown, where: string, most = MAX_LIST): unknown[] {
  if (!Array.isArray(value) || value.length === 0) throw new UsageError({ found: 'no list, or an empty one', where });
  if (value.length > most) {
    throw new UsageError({ code: 'too-large', found: `${value.length} entries`, expected: `at most ${most}`, where });
  }
  return [...(value as unknown[])];
}

/** Types that a schema has keywords for. */
export function spokenOf(schema: Schema): Type[] {
  return SPEAKS_OF.filter(([, keywords]) => keywords.some((key) => schema[key] !== undefined)).map(([type]) => type);
}

/** The types that values may have. */
export function typesOf(schema: Schema, where: string): Type[] {
  const { type } = schema;
  if (type === undefined) {
    const spoken = spokenOf(schema);
    return spoken.length > 0 ? spoken : TYPES.filter((one) => one !== 'integer');
  }
  const types = [type].flat() as unknown[];
  const unknown = types.find((one) => !TYPES.includes(one as Type));
  if (unknown !== undefined)
    throw new UsageError({ found: 'a type that JSON Schema does not know', where: `${where}.type` });
  const known = [...new Set(types as Type[])];
  return known.includes('number') ? known.filter((one) => one !== 'integer') : known;
}

/** A keyword that counts. */
export function countOf(schema: Schema, key: string, where: string): number | undefined {
  const value = schema[key];
  if (value === undefined) return undefined;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0) return value;
  throw new UsageError({ found: `"${key}" that is no whole number`, where });
}

/** A bound, and whether it is itself within: draft 4 said that with true or false. */
export function boundOf(schema: Schema, key: string, exclusiveKey: string, where: string): Bound | undefined {
  const [bound, exclusive] = [schema[key], schema[exclusiveKey]];
  for (const [name, value] of [
    [key, bound],
    [exclusiveKey, exclusive],
  ] as const) {
    if (value === undefined || (typeof value === 'number' && Number.isFinite(value))) continue;
    if (typeof value === 'boolean' && name === exclusiveKey) continue;
    throw new UsageError({ found: `"${name}" that is no number`, where });
  }
  const within = typeof bound === 'number' ? { value: bound, open: exclusive === true } : undefined;
  if (typeof exclusive !== 'number') return within;
  const sign = key === 'minimum' ? 1 : -1;
  return within && sign * within.value > sign * exclusive ? within : { value: exclusive, open: true };
}
