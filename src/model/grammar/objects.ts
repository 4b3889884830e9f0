import { UnsupportedError, UsageError } from '../../base/errors.js';
import { isRecord } from '../../base/json.js';
import { countOf } from './keywords.js';
import type { Schema } from './merge.js';
import type { Shape } from './readings.js';
import { type Dialect, exclude, literal, oneOf, type Rules } from './rules.js';
import type { SchemaReader } from './schema.js';

/** Objects of a schema: listed members in their order, then others where the schema says that there may be some. */

const MAX_PROPERTIES = 500;
const MAX_ONE_NAME = 500;
/** Of all names that other members must not have. */
const MAX_NAME_LENGTH = 20_000;

interface Member {
  rule: string;
  required: boolean;
}

/** How members are written: what opens and closes them all, and what stands before a value. */
export interface MemberStyle {
  open: string;
  close: string;
  key(name: string): string;
  /** What stands behind a value and between two members, and how what is within values is written; by default a comma, and as they are. */
  values?: { end: string; between: string; nested: Dialect };
}

/** @throws UsageError, UnsupportedError as `schemaRule` */
export function objectBody(
  reader: SchemaReader,
  schema: Schema,
  { shape, style }: { shape: Shape; style?: MemberStyle },
  where: string,
): string {
  const { rules } = reader;
  const { open, close, key, values }: MemberStyle = style ?? {
    open: '{',
    close: '}',
    key: (name) => `${rules.dialect.key(name)}:`,
  };
  const ws = values ? '""' : 'ws';
  const whole = (members: string) => `${literal(open)} ${ws} ${members} ${literal(close)}`;
  const { properties = {}, additionalProperties: more } = schema;
  if (!isRecord(properties)) throw new UsageError({ found: 'what is no object', where: `${where}.properties` });
  const required = requiredOf(schema, where);
  const unlisted = required.filter((name) => !Object.hasOwn(properties, name));
  if (unlisted.length > 0 && more === false) {
    throw new UnsupportedError({ found: 'a required property that may not be there', where: `${where}.required` });
  }
  const listed: [name: string, value: unknown][] = [
    ...Object.entries(properties).filter(([name, value]) => value !== false || required.includes(name)),
    ...unlisted.map((name): [string, unknown] => [name, more ?? true]),
  ];
  if (listed.length > MAX_PROPERTIES) {
    const expected = `at most ${MAX_PROPERTIES}`;
    throw new UsageError({ code: 'too-large', found: `${listed.length} properties`, expected, where });
  }
  if (listed.some(([name]) => name.length > MAX_ONE_NAME)) {
    throw new UsageError({ code: 'too-large', found: 'a name of a property that is too long', where });
  }
  const part = (value: unknown, name: string) => {
    const found = (style ? reader : reader.inner).shape(value, `${where}.${name}`);
    shape.parts.push(found);
    return found;
  };
  const members = listed.map(([name, value]): Member => {
    const { rule } = part(value, `properties.${/^[\w-]{1,40}$/.test(name) ? name : '*'}`);
    const end = values ? literal(values.end) : '';
    return { rule: rules.add(`${literal(key(name))} ${ws} ${rule} ${end}`.trim()), required: required.includes(name) };
  });
  if (members[0]?.required) {
    const [[name]] = listed as [[string, unknown]];
    const value = shape.parts[0]!;
    const constants = value.alternatives.length === 0 && value.openings.every((one) => one.length > 1);
    shape.openings = (constants ? value.openings : ['']).map((one) => `o${key(name)}${one}`);
  }
  // Nothing is said of others: an object that lists none is any object.
  // In a style of its own none is added.
  const isOpen = !style && (more === true || isRecord(more) || (more === undefined && listed.length === 0));
  const least = countOf(schema, 'minProperties', where) ?? 0;
  const most = countOf(schema, 'maxProperties', where);
  const number = { needed: required.length, listed: listed.length, least, most };
  if (!isOpen) {
    checkNumber(number, where);
    const between = values && { between: values.between, ws };
    return whole(chain(rules, members, { more: '', nonEmpty: least > required.length, ...between }));
  }
  const other = rules.add(
    `${otherName(
      rules,
      listed.map(([name]) => name),
      where,
    )} ":" ws ${part(more, 'additionalProperties').rule}`,
  );
  if (members.length === 0) {
    if (least > 1) throw unserved('minProperties', where);
    if (most !== undefined && most < least) throw unserved('maxProperties', where);
    return whole(most === 0 ? '""' : rules.items(other, least, most, where));
  }
  if (most !== undefined) throw unserved('maxProperties', where);
  if (least > required.length + (required.length === 0 ? 1 : 0)) throw unserved('minProperties', where);
  return whole(chain(rules, members, { more: other, nonEmpty: least > required.length }));
}

function requiredOf({ required = [] }: Schema, where: string): string[] {
  // Draft 3 said it of each property, with true or false.
  if (typeof required === 'boolean') return [];
  if (Array.isArray(required) && required.every((name) => typeof name === 'string')) return [...new Set(required)];
  throw new UsageError({ found: 'what is no list of names', where: `${where}.required` });
}

const unserved = (key: string, where: string) =>
  new UnsupportedError({ found: `"${key}" is not served here`, where, fix: 'leave it out' });

function checkNumber(
  { needed, listed, least, most }: { needed: number; listed: number; least: number; most: number | undefined },
  where: string,
): void {
  // All that are needed, and one at least, can be demanded.
  if (least > listed || (least > needed && !(least === 1 && needed === 0))) throw unserved('minProperties', where);
  if (most !== undefined && most < listed) throw unserved('maxProperties', where);
}

/** Members in their order; those that are not required may be left out. */
function chain(
  rules: Rules,
  members: readonly Member[],
  { more, nonEmpty, between = ',', ws = 'ws' }: { more: string; nonEmpty: boolean; between?: string; ws?: string },
): string {
  const comma = `${literal(between)} ${ws}`;
  /** What may follow the last one, behind others and as the first. */
  const others = more === '' ? '""' : rules.add(`(${comma} ${more})*`);
  let behind = `${others} ${ws}`;
  let first: string | undefined = more === '' ? '""' : `(${more} ${others} ${ws})?`;
  if (nonEmpty) first = more === '' ? undefined : `${more} ${others} ${ws}`;
  for (const { rule, required } of [...members].reverse()) {
    const here = `${rule} ${rules.add(behind)}`;
    const skipped = first === undefined ? '' : ` | ${rules.add(first)}`;
    first = required ? here : `${here}${skipped}`;
    behind = required ? `${comma} ${here}` : `${comma} ${here} | ${rules.add(behind)}`;
  }
  return rules.add(first!);
}

interface Branch {
  ends: boolean;
  next: Map<number, Branch>;
}

/** Names that are none of some. They are written without escapes, so that no listed one is among them in another writing. */
function otherName(rules: Rules, names: readonly string[], where: string): string {
  const { mark, plain } = rules.dialect.names;
  if (names.reduce((sum, { length }) => sum + length, 0) > MAX_NAME_LENGTH) {
    throw new UsageError({ code: 'too-large', found: 'names of properties that are too long', where });
  }
  const root: Branch = { ends: true, next: new Map() };
  for (const name of names) {
    let at = root;
    for (const char of name) {
      const code = char.codePointAt(0)!;
      const next = at.next.get(code) ?? { ends: false, next: new Map<number, Branch>() };
      at.next.set(code, next);
      at = next;
    }
    at.ends = true;
  }
  const any = rules.add(`${oneOf(plain)}*`);
  const write = (branch: Branch): string => {
    const kept = [...branch.next].filter(([code]) => plain.some(([from, to]) => from <= code && code <= to));
    const parts = kept.map(([code, next]) => `${oneOf([[code, code]])} ${write(next)}`);
    const rest = exclude(
      plain,
      kept.map(([code]) => code),
    );
    if (rest.length > 0) parts.push(`${oneOf(rest)} ${any}`);
    if (!branch.ends) parts.push('""');
    return rules.add(parts.join(' | '));
  };
  const around = mark === '' ? '""' : literal(mark);
  return `${around} ${write(root)} ${around}`;
}
