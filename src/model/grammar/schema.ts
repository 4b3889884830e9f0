import { UnsupportedError, UsageError } from '../../base/errors.js';
import { isRecord } from '../../base/json.js';
import { MAX_ALTERNATIVES, MAX_DEPTH, SchemaDocument, tooLarge } from './document.js';
import { formats } from './formats.js';
import {
  boundOf,
  countOf,
  isEmpty,
  listOf,
  OPENING,
  SPEAKS_OF,
  spokenOf,
  TYPES,
  type Type,
  typeOf,
  typesOf,
} from './keywords.js';
import type { Schema } from './merge.js';
import { integerRule, numberRule } from './numbers.js';
import { type MemberStyle, objectBody } from './objects.js';
import { patternRule } from './pattern.js';
import { checkReadings, type Shape } from './readings.js';
import { literal, type Rules } from './rules.js';

/**
 * JSON schemas (drafts 4 to 2020-12, and OpenAPI's `nullable`) as grammars. Every text of the grammar is valid under the schema; some valid
 * ones are left out: members stand in the order of the schema, and none is added that it does not speak of. What cannot be expressed is
 * refused by its name. A schema comes from a stranger: its size, depth and the work it makes for libllama are bounded.
 */

/** Schemas within a schema, each one that is led back to counted once. */
const MAX_SCHEMAS = 5000;
/** Constants of a whole schema, and characters of them. */
const MAX_CONSTANTS = 2000;
const MAX_CONSTANT_LENGTH = 200_000;
/** Of more constants one does not look at what each begins with. */
const MAX_OPENINGS = 100;

/** Keywords without which a value might be wrong, and what of each changes nothing. */
const UNSERVED: Record<string, (value: unknown, schema: Schema) => boolean> = {
  not: () => false,
  if: () => false,
  contains: () => false,
  minContains: (_, schema) => !('contains' in schema),
  maxContains: (_, schema) => !('contains' in schema),
  uniqueItems: (value, { maxItems }) => value === false || (typeof maxItems === 'number' && maxItems <= 1),
  multipleOf: (value, { type }) => value === 1 && type === 'integer',
  patternProperties: isEmpty,
  propertyNames: (value) => value === true || isEmpty(value),
  dependentRequired: isEmpty,
  dependentSchemas: isEmpty,
  dependencies: isEmpty,
  unevaluatedItems: (value) => typeof value === 'boolean',
  unevaluatedProperties: (value) => typeof value === 'boolean',
  $dynamicRef: () => false,
  $recursiveRef: () => false,
  extends: () => false,
};

/**
 * A rule for the values of a schema.
 * @param where the schema's place, for messages
 * @throws UsageError, UnsupportedError that name what is wrong or not served
 */
export function schemaRule(rules: Rules, schema: unknown, where: string): string {
  return ruleBy(new SchemaReader(rules, new SchemaDocument(schema)), schema, where);
}

/**
 * A rule for the arguments of a tool, whose schema is of one object.
 * @param style how the arguments themselves are written, if not as other objects are
 * @throws as above
 */
export function argumentsRule(
  rules: Rules,
  schema: unknown,
  { where, style }: { where: string; style?: MemberStyle },
): string {
  const document = new SchemaDocument(schema);
  const given = isRecord(schema) ? document.flat(schema, where) : {};
  const isBare = isEmpty(given.properties ?? {}) && given.additionalProperties === undefined;
  const object = { type: 'object', ...given, ...(isBare && { additionalProperties: false }) };
  if (object.type !== 'object' || (style && (given.anyOf !== undefined || given.oneOf !== undefined))) {
    throw new UnsupportedError({ found: 'arguments that are not one object', where });
  }
  return ruleBy(new SchemaReader(rules, document, style), object, where);
}

function ruleBy(reader: SchemaReader, schema: unknown, where: string): string {
  try {
    const shape = reader.shape(schema, where);
    checkReadings(shape, where);
    return shape.rule;
  } catch (error) {
    // Of constants that are nested deeper than the stack is.
    throw error instanceof RangeError ? tooLarge('a schema that is too deep', where) : error;
  }
}

export class SchemaReader {
  private readonly shapes = new Map<object, Shape>();
  private depth = 0;
  private constants = { number: 0, length: 0 };

  constructor(
    readonly rules: Rules,
    private readonly document: SchemaDocument,
    /** Of the first schema's members. */
    private readonly style?: MemberStyle,
  ) {
    const nested = style?.values?.nested;
    this.inner = nested ? new SchemaReader(rules.in(nested), document) : this;
  }

  /** Reads what stands within values. */
  readonly inner: SchemaReader;

  private first: Shape | undefined;

  /** The values of a schema. */
  shape(schema: unknown, where: string): Shape {
    if (schema === true || schema === undefined || isEmpty(schema))
      return leaf(this.rules.any.value, Object.values(OPENING));
    if (schema === false) throw new UnsupportedError({ found: 'a schema of no value at all', where });
    if (!isRecord(schema)) throw new UsageError({ found: 'what is no schema', where });
    const known = this.shapes.get(schema);
    if (known) return known;
    if (this.shapes.size >= MAX_SCHEMAS) throw tooLarge(`more than ${MAX_SCHEMAS} schemas within one`, where);
    if (this.depth >= MAX_DEPTH) throw tooLarge(`a schema more than ${MAX_DEPTH} deep`, where);
    const shape: Shape = { rule: this.rules.reserve(), alternatives: [], parts: [], openings: [] };
    this.shapes.set(schema, shape);
    this.first ??= shape;
    this.depth++;
    const body = this.body(schema, shape, where);
    this.depth--;
    this.rules.define(shape.rule, body);
    return shape;
  }

  /** Fills a shape. @returns its rule */
  private body(given: Schema, shape: Shape, where: string): string {
    const target = onlyReference(given);
    if (target !== undefined) return this.oneOf([this.document.resolve(target, where)], shape, where);
    const schema = this.document.flat(given, where);
    for (const [key, isNeutral] of Object.entries(UNSERVED)) {
      if (schema[key] !== undefined && !isNeutral(schema[key], schema)) {
        throw new UnsupportedError({ found: `"${key}" is not served`, where, fix: 'leave it out' });
      }
    }
    const { anyOf, oneOf, ...rest } = schema;
    if (anyOf !== undefined || oneOf !== undefined) {
      const key = anyOf === undefined ? 'oneOf' : 'anyOf';
      const given = listOf(schema[key], `${where}.${key}`, MAX_ALTERNATIVES);
      const more: Schema = key === 'anyOf' && oneOf !== undefined ? { ...rest, oneOf } : rest;
      const isAlone = Object.keys(more).every(saysNothing);
      const all = given.map((one) => (isAlone || one === false ? one : { allOf: [more, one] }));
      const possible = all.filter((one) => one !== false);
      if (key === 'oneOf') this.document.requireApart(possible, `${where}.oneOf`);
      return this.oneOf(possible, shape, `${where}.${key}`);
    }
    if (schema.enum !== undefined || 'const' in schema) return this.fixed(schema, shape, where);
    if (schema.type === undefined && spokenOf(schema).length === 0) {
      shape.openings = Object.values(OPENING);
      return this.rules.any.value;
    }
    const types = typesOf(schema, where);
    if (types.length === 0) throw new UnsupportedError({ found: 'a schema of no value at all', where });
    if (types.length === 1) return this.ofType(types[0]!, schema, shape, where);
    return this.oneOf(
      types.map((type) => ({ ...schema, type })),
      shape,
      where,
    );
  }

  private oneOf(schemas: readonly unknown[], shape: Shape, where: string): string {
    if (schemas.length === 0) throw new UnsupportedError({ found: 'a schema of no value at all', where });
    // One after the other, so that each has its place among those that it may lead to.
    for (const [i, one] of schemas.entries()) {
      const found = this.shape(one, schemas.length === 1 ? where : `${where}.${i}`);
      if (!shape.alternatives.includes(found)) shape.alternatives.push(found);
    }
    return shape.alternatives.map(({ rule }) => rule).join(' | ');
  }

  /** Constants. */
  private fixed(schema: Schema, shape: Shape, where: string): string {
    const { enum: several, const: one, type, ...rest } = schema;
    const unserved = Object.keys(rest).find((key) => SPEAKS_OF.some(([, keywords]) => keywords.includes(key)));
    if (unserved !== undefined) {
      throw new UnsupportedError({ found: `"${unserved}" beside constants is not served`, where, fix: 'leave it out' });
    }
    const allowed = type === undefined ? TYPES : typesOf(schema, where);
    let values = several === undefined ? [one] : listOf(several, `${where}.enum`, MAX_CONSTANTS);
    if (several !== undefined && 'const' in schema) {
      values = values.filter((value) => JSON.stringify(value) === JSON.stringify(one));
    }
    values = values.filter((value) => {
      const type = typeOf(value);
      return allowed.includes(type) || (type === 'integer' && allowed.includes('number'));
    });
    if (values.length === 0) throw new UnsupportedError({ found: 'a schema of no value at all', where });
    const texts = values.map((value) => this.rules.dialect.write(value));
    this.constants.number += texts.length;
    this.constants.length += texts.reduce((sum, { length }) => sum + length, 0);
    if (this.constants.number > MAX_CONSTANTS || this.constants.length > MAX_CONSTANT_LENGTH) {
      const most = `${MAX_CONSTANTS} of them, ${MAX_CONSTANT_LENGTH} characters`;
      throw new UsageError({ code: 'too-large', found: 'too many constants', expected: `at most ${most}`, where });
    }
    const openings = values.map((value, i) => OPENING[typeOf(value)] + (typeof value === 'object' ? '' : texts[i]));
    shape.openings = openings.length > MAX_OPENINGS ? openings.map((one) => one[0]!) : openings;
    return this.rules.oneText(texts);
  }

  private ofType(type: Type, schema: Schema, shape: Shape, where: string): string {
    shape.openings = [OPENING[type]];
    switch (type) {
      case 'object':
        return objectBody(this, schema, { shape, style: shape === this.first ? this.style : undefined }, where);
      case 'array':
        return this.list(schema, shape, where);
      case 'string':
        return this.string(schema, where);
      case 'integer':
      case 'number': {
        const [least, most] = [
          boundOf(schema, 'minimum', 'exclusiveMinimum', where),
          boundOf(schema, 'maximum', 'exclusiveMaximum', where),
        ];
        if (!least && !most) return type;
        return (type === 'integer' ? integerRule : numberRule)(this.rules, least, most, where);
      }
      default:
        return this.rules.any[type];
    }
  }

  private list(schema: Schema, shape: Shape, where: string): string {
    const { rules } = this;
    const least = countOf(schema, 'minItems', where) ?? 0;
    const most = countOf(schema, 'maxItems', where);
    const isTuple = Array.isArray(schema.items);
    const given = isTuple ? schema.items : schema.prefixItems;
    const prefix = given === undefined ? [] : listOf(given, `${where}.prefixItems`, MAX_ALTERNATIVES);
    let rest = isTuple ? schema.additionalItems : schema.items;
    // Behind those that stand first, none are needed that nothing is said of.
    if (rest === undefined && prefix.length > 0 && least <= prefix.length) rest = false;
    const first = prefix.slice(0, most);
    const limit = rest === false ? 0 : most === undefined ? undefined : most - first.length;
    const needed = Math.max(0, least - first.length);
    if (most !== undefined && least > most) throw new UnsupportedError({ found: 'a list of no length', where });
    if (limit !== undefined && needed > limit) throw new UnsupportedError({ found: 'a list of no length', where });
    const part = (schema: unknown, place: string) => {
      const found = this.inner.shape(schema, `${where}.${place}`);
      shape.parts.push(found);
      return found.rule;
    };
    const heads = first.map((one, i) => part(one, `prefixItems.${i}`));
    const separator = ' "," ws ';
    if (heads.length === 0) {
      if (limit === 0) return '"[" ws "]"';
      return `"[" ws ${rules.items(part(rest, 'items'), needed, limit, where)} "]"`;
    }
    if (limit === 0) return `"[" ws ${heads.join(separator)} ws "]"`;
    const more = rules.items(part(rest, 'items'), needed + 1, limit === undefined ? undefined : limit + 1, where);
    // The last of those that stand first takes the place of the first of the others.
    const tail = more.slice(more.indexOf(' '));
    return `"[" ws ${heads.join(separator)}${tail} "]"`;
  }

  private string(schema: Schema, where: string): string {
    const { rules } = this;
    const { mark } = rules.dialect.texts;
    const least = countOf(schema, 'minLength', where) ?? 0;
    const most = countOf(schema, 'maxLength', where);
    if (most !== undefined && least > most) throw new UnsupportedError({ found: 'a text of no length', where });
    const around = literal(mark);
    const within = (body: string) => `${around} ${body} ${around}`;
    const { pattern } = schema;
    const format = typeof schema.format === 'string' ? formats.get(schema.format) : undefined;
    if (pattern !== undefined) {
      if (typeof pattern !== 'string') throw new UsageError({ found: '"pattern" that is no text', where });
      if (format)
        throw new UnsupportedError({ found: 'a pattern beside a format', where, fix: 'leave one of the two out' });
      return within(patternRule(rules, pattern, { least, most }, `${where}.pattern`));
    }
    if (format) {
      if (least > format.lengths[0] || (most !== undefined && most < format.lengths[1])) {
        throw new UnsupportedError({ found: 'a length beside a format', where, fix: 'leave one of the two out' });
      }
      return within(format.rule(rules));
    }
    if (least === 0 && most === undefined) return rules.any.string;
    return within(rules.characters(rules.any.char, least, most, where));
  }
}

function leaf(rule: string, openings: string[]): Shape {
  return { rule, alternatives: [], parts: [], openings };
}

const saysNothing = (key: string) =>
  !(key in UNSERVED) &&
  !['type', 'enum', 'const', 'anyOf', 'oneOf'].includes(key) &&
  !SPEAKS_OF.some(([, keywords]) => keywords.includes(key));

/** The `$ref` of a schema that says nothing else. */
function onlyReference({ $ref, ...rest }: Schema): unknown {
  const others = Object.keys(rest).filter((key) => !saysNothing(key) || key === 'allOf' || key === 'nullable');
  return others.length === 0 ? $ref : undefined;
}
