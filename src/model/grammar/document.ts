import { UnsupportedError, UsageError } from '../../base/errors.js';
import { isRecord } from '../../base/json.js';
import { constantsOf, listOf, OPENING, typeOf, typesOf } from './keywords.js';
import { Merger, type Schema } from './merge.js';

/** Schemas within a schema: what they refer to, and what holds for a value together. */

export const MAX_DEPTH = 60;
/** Entries of schemas that are put together. */
const MAX_WORK = 500_000;

export const MAX_ALTERNATIVES = 200;

export class SchemaDocument {
  private readonly merger = new Merger();
  private work = 0;

  constructor(private readonly root: unknown) {}

  /** A schema without `$ref` and `allOf`: what holds together is one. */
  flat(schema: Schema, where: string, through: readonly unknown[] = []): Schema {
    if (through.includes(schema)) {
      throw new UsageError({ found: 'a schema that leads back to itself with nothing between', where });
    }
    if (through.length > MAX_DEPTH) throw tooLarge(`a schema more than ${MAX_DEPTH} deep`, where);
    this.spend(
      Object.values(schema).reduce<number>((sum, value) => sum + sizeOf(value), 1),
      where,
    );
    const { $ref, allOf, nullable, ...own } = schema;
    let all: Schema = own;
    if (nullable === true && own.type !== undefined) all = { ...own, type: [own.type, 'null'].flat() };
    const others = allOf === undefined ? [] : listOf(allOf, `${where}.allOf`, MAX_ALTERNATIVES);
    if ($ref !== undefined) others.push(this.resolve($ref, where));
    for (const other of others) {
      if (other === true) continue;
      if (!isRecord(other)) throw new UnsupportedError({ found: 'a schema of no value at all', where });
      all = this.merger.merge(all, this.flat(other, where, [...through, schema]), where);
    }
    return all;
  }

  /** What holds together is put together again wherever it is asked for: a small schema may ask for much of it. */
  private spend(work: number, where: string): void {
    this.work += work;
    if (this.work > MAX_WORK) throw tooLarge('a schema of too many parts that hold together', where);
  }

  /** What a `$ref` points to, in this document. */
  resolve(ref: unknown, where: string): unknown {
    const wrong = (found: string) => new UnsupportedError({ found, where: `${where}.$ref`, fix: 'use "#/$defs/NAME"' });
    if (typeof ref !== 'string' || !/^#(\/|$)/.test(ref)) throw wrong('a reference that is no place in this schema');
    let at: unknown = this.root;
    for (const part of ref.split('/').slice(1)) {
      let key = part;
      try {
        key = decodeURIComponent(part);
      } catch {}
      key = key.replaceAll('~1', '/').replaceAll('~0', '~');
      if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) throw wrong('a reference to nothing');
      at = (at as Record<string, unknown>)[key];
    }
    return at;
  }

  /** `oneOf` is `anyOf` where no value is of two alternatives. */
  requireApart(schemas: readonly unknown[], where: string): void {
    const all = schemas.map((one) => (isRecord(one) ? this.flat(one, where) : {}));
    for (const [i, one] of all.entries()) {
      if (all.slice(i + 1).every((other) => this.areApart(one, other, where))) continue;
      const found = 'alternatives that one value may have two of';
      const fix = 'tell them apart by type or by a required constant, or use anyOf';
      throw new UnsupportedError({ found, where, fix });
    }
  }

  private areApart(a: Schema, b: Schema, where: string): boolean {
    const [some, others] = [constantsOf(a), constantsOf(b)];
    if (some && others) return !some.some((one) => others.includes(one));
    const kinds = (schema: Schema) => {
      const values = schema.enum === undefined ? ('const' in schema ? [schema.const] : []) : listOf(schema.enum, where);
      const types = values.length > 0 ? values.map(typeOf) : typesOf(schema, where);
      return types.map((type) => OPENING[type]);
    };
    const shared = kinds(a).filter((kind) => kinds(b).includes(kind));
    if (shared.length === 0) return true;
    if (shared.some((kind) => kind !== OPENING.object)) return false;
    const needs = ({ required }: Schema): unknown[] => (Array.isArray(required) ? required : []);
    this.spend((needs(a).length + needs(b).length) ** 2, where);
    const has = ({ properties }: Schema, name: string) => isRecord(properties) && Object.hasOwn(properties, name);
    const lacks = (schema: Schema, name: string) => schema.additionalProperties === false && !has(schema, name);
    const names = [...new Set([...needs(a), ...needs(b)])].filter((one) => typeof one === 'string');
    return names.some((name) => {
      if ((needs(a).includes(name) && lacks(b, name)) || (needs(b).includes(name) && lacks(a, name))) return true;
      if (!needs(a).includes(name) || !needs(b).includes(name) || !has(a, name) || !has(b, name)) return false;
      const [one, other] = [a, b].map(({ properties }) => (properties as Schema)[name]);
      if (!isRecord(one) || !isRecord(other)) return false;
      const [these, those] = [one, other].map((inner) => constantsOf(this.flat(inner, where)));
      return these !== undefined && those !== undefined && !these.some((value) => those.includes(value));
    });
  }
}

const sizeOf = (value: unknown) =>
  typeof value === 'object' && value !== null ? Math.max(1, Object.keys(value).length) : 1;

export function tooLarge(found: string, where: string): UsageError {
  return new UsageError({ code: 'too-large', found, where, fix: 'make the schema smaller' });
}
