import { Environment } from '@huggingface/jinja';
import { NUMBER_KEY } from './message.js';

/** Values of the Jinja interpreter as Python writes them: str(), repr(), json.dumps(). */

/** A value of the interpreter; its classes are not exported. */
export interface Value {
  type: string;
  value: unknown;
  builtins: Map<string, Value>;
  toString(): string;
}
type Kind = new (value?: unknown) => Value;

/** An environment for getting at the classes. */
export const sample = new Environment();
const kindOf = (name: string, value: unknown) => sample.set(name, value).constructor as unknown as Kind;
export const Text = kindOf('text', '');
export const Whole = kindOf('whole', 1);
export const Real = kindOf('real', 1.5);
export const Truth = kindOf('truth', true);
export const List = kindOf('list', []);
const Mapping = kindOf('mapping', {});
export const Func = sample.lookupVariable('namespace').constructor as unknown as Kind;
export const nothing = () => sample.lookupVariable('nothing at all') as unknown as Value;

/** repr() of a float: the shortest digits, an exponent of two digits below 1e-4 and from 1e16 on. */
function floatText(number: number): string {
  if (Object.is(number, -0)) return '-0.0';
  if (!Number.isFinite(number)) return Number.isNaN(number) ? 'nan' : number > 0 ? 'inf' : '-inf';
  const size = Math.abs(number);
  if (size === 0 || (size >= 1e-4 && size < 1e16)) {
    const text = String(number);
    return text.includes('.') ? text : `${text}.0`;
  }
  const [digits, exponent] = number.toExponential().split('e') as [string, string];
  return `${digits}e${exponent[0]}${exponent.slice(1).padStart(2, '0')}`;
}

const NAMED: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\\': '\\\\' };

/** repr() of a text: single quotes unless double ones need no escape, and what is not printable escaped. */
function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replace(/[\p{C}\p{Z}\\'"]/gu, (char) => {
    if (char === ' ' || ((char === '"' || char === "'") && char !== quote)) return char;
    if (char === quote) return `\\${char}`;
    const code = char.codePointAt(0)!;
    const [mark, digits] = code < 0x100 ? ['x', 2] : code < 0x10000 ? ['u', 4] : ['U', 8];
    return NAMED[char] ?? `\\${mark}${code.toString(16).padStart(digits as number, '0')}`;
  });
  return quote + escaped + quote;
}

const entriesOf = (value: Value) => [...(value.value as Map<string, Value>)];

/** repr(). */
function repr(value: Value): string {
  switch (value.type) {
    case 'StringValue':
      return quoted(value.value as string);
    case 'ArrayValue':
      return `[${(value.value as Value[]).map(repr).join(', ')}]`;
    case 'TupleValue': {
      const list = (value.value as Value[]).map(repr);
      return list.length === 1 ? `(${list[0]},)` : `(${list.join(', ')})`;
    }
    case 'ObjectValue':
      return `{${entriesOf(value)
        .map(([key, entry]) => `${quoted(key)}: ${repr(entry)}`)
        .join(', ')}}`;
    case 'UndefinedValue':
      return 'Undefined';
    default:
      return printed(value);
  }
}

/** str(), which is what a template prints. */
export function printed(value: Value): string {
  return value.type === 'UndefinedValue' ? '' : value.type === 'NullValue' ? 'None' : value.toString();
}

Truth.prototype.toString = function (this: Value) {
  return this.value ? 'True' : 'False';
};
Real.prototype.toString = function (this: Value) {
  return floatText(this.value as number);
};
for (const { prototype } of [List, Mapping]) {
  prototype.toString = function (this: Value) {
    return repr(this);
  };
}

interface JsonLayout {
  ascii: boolean;
  indent: string | undefined;
  separators: readonly [item: string, key: string];
  sorted: boolean;
}

/** json.dumps(), with the arguments of the filter that transformers puts in the place of jinja2's. */
export function jsonOf(value: Value, positional: readonly Value[], named: ReadonlyMap<string, Value>): string {
  const given = (name: string, place: number) => {
    const found = positional[place] ?? named.get(name);
    return found?.type === 'NullValue' ? undefined : found;
  };
  const indent = given('indent', 1);
  const separators = given('separators', 2)?.value as Value[] | undefined;
  return written(
    value,
    {
      ascii: Boolean(given('ensure_ascii', 0)?.value),
      indent: typeof indent?.value === 'number' ? ' '.repeat(indent.value) : (indent?.value as string | undefined),
      separators: separators
        ? [String(separators[0]!.value), String(separators[1]!.value)]
        : [indent === undefined ? ', ' : ',', ': '],
      sorted: Boolean(given('sort_keys', 3)?.value),
    },
    '\n',
  );
}

function jsonText(text: string, ascii: boolean): string {
  const json = JSON.stringify(text);
  if (!ascii) return json;
  return json.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function written(value: Value, layout: JsonLayout, line: string): string {
  const { ascii, indent, separators, sorted } = layout;
  const inner = indent === undefined ? '' : line + indent;
  const block = (open: string, parts: string[], close: string) =>
    parts.length === 0
      ? open + close
      : open + inner + parts.join(separators[0] + inner) + (indent === undefined ? '' : line) + close;
  switch (value.type) {
    case 'NullValue':
      return 'null';
    case 'BooleanValue':
      return value.value ? 'true' : 'false';
    case 'IntegerValue':
    case 'FloatValue':
      return value.toString();
    case 'StringValue':
      return jsonText(value.value as string, ascii);
    case 'ArrayValue':
    case 'TupleValue':
      return block(
        '[',
        (value.value as Value[]).map((entry) => written(entry, layout, inner)),
        ']',
      );
    case 'ObjectValue': {
      const entries = entriesOf(value);
      if (sorted) entries.sort(([a], [b]) => (a < b ? -1 : 1));
      const parts = entries.map(([key, entry]) => jsonText(key, ascii) + separators[1] + written(entry, layout, inner));
      return block('{', parts, '}');
    }
    default:
      throw new Error(`a value of type ${value.type} is not JSON serializable`);
  }
}

/** ==, which in Python is true of values of one kind: 1 is 1.0 and True, not "1"; what is undefined is no None. */
export function same(a: Value, b: Value): boolean {
  const [x, y] = [a.value, b.value];
  if (a.type === 'UndefinedValue' || b.type === 'UndefinedValue') return a.type === b.type;
  if (Array.isArray(x) && Array.isArray(y)) return x.length === y.length && x.every((one, i) => same(one, y[i]));
  if (x instanceof Map && y instanceof Map) {
    return x.size === y.size && [...x].every(([key, one]) => y.has(key) && same(one, y.get(key) as Value));
  }
  const plain = (value: unknown) => (typeof value === 'boolean' ? Number(value) : value);
  return plain(x) === plain(y);
}

const kindIs =
  (...types: string[]) =>
  (value: Value) =>
    types.includes(value.type);
const tests = (Environment as unknown as { TESTS: Map<string, (a: Value, b: Value) => boolean> }).TESTS;
for (const name of ['equalto', 'eq', '==']) tests.set(name, same);
for (const name of ['ne', '!=']) tests.set(name, (a, b) => !same(a, b));
// What is undefined is an empty list to Python, and a truth value a number.
const iterable = kindIs('ArrayValue', 'TupleValue', 'StringValue', 'ObjectValue', 'UndefinedValue');
for (const name of ['iterable', 'sequence']) tests.set(name, iterable);
tests.set('number', kindIs('IntegerValue', 'FloatValue', 'BooleanValue'));
tests.set('float', kindIs('FloatValue'));

/** Puts numbers in the place of the objects that stand for them. */
export function withNumbers(value: Value): Value {
  if (value.type === 'ArrayValue') value.value = (value.value as Value[]).map(withNumbers);
  if (value.type !== 'ObjectValue') return value;
  const map = value.value as Map<string, Value>;
  const text = map.size === 1 ? map.get(NUMBER_KEY)?.value : undefined;
  if (typeof text === 'string') {
    const number = new (/^-?\d+$/.test(text) ? Whole : Real)(Number(text));
    number.toString = () => text;
    return number;
  }
  for (const [key, entry] of map) map.set(key, withNumbers(entry));
  return value;
}
