import { Environment, Interpreter } from '@huggingface/jinja';

/**
 * Makes the Jinja interpreter do what Python's does where the two differ: templates are written for that one (jinja2 3.1, Python's own
 * string methods). Imported once, by the process that renders templates. What is here goes when the library has it.
 */

/** A value of the interpreter; its classes are not exported. */
interface Value {
  type: string;
  value: unknown;
  builtins: Map<string, Value>;
}
type Kind = new (value?: unknown) => Value;
type Method = (text: string, args: Value[], named: ReadonlyMap<string, Value>) => Value;

const sample = new Environment();
const kindOf = (name: string, value: unknown) => sample.set(name, value).constructor as unknown as Kind;
const [Text, Whole, Truth, List] = [kindOf('text', ''), kindOf('whole', 1), kindOf('truth', true), kindOf('list', [])];
const Func = sample.lookupVariable('namespace').constructor as unknown as Kind;
const text = (value: string) => new Text(value);
const texts = (values: readonly string[]) => new List(values.map(text));

/** What str.isspace of Python takes for white space; JavaScript's own lacks five characters and has one more. */
const SPACE = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
const [spaces, words] = [new RegExp(`[${SPACE}]`), new RegExp(`[^${SPACE}]+`, 'gu')];

/** str.strip and its halves. @param chars that are taken off; white space if there are none */
function strip(from: string, chars: string | undefined, left: boolean, right: boolean): string {
  const all = chars === undefined ? undefined : new Set(chars);
  // Code points, as Python counts.
  const list = Array.from(from);
  const goes = (char: string) => all?.has(char) ?? spaces.test(char);
  let [start, end] = [0, list.length];
  if (left) while (start < end && goes(list[start]!)) start++;
  if (right) while (end > start && goes(list[end - 1]!)) end--;
  return list.slice(start, end).join('');
}

/** str.split with at most `most` cuts; by white space without a separator. */
function split(from: string, by: string | undefined, most: number): string[] {
  if (by === '') throw new Error('empty separator');
  if (by === undefined) {
    const found = [...from.matchAll(words)];
    if (most < 0 || found.length <= most) return found.map(([word]) => word);
    const rest = from.slice(found[most]!.index);
    return [...found.slice(0, most).map(([word]) => word), rest];
  }
  const parts = from.split(by);
  return most < 0 || parts.length <= most + 1 ? parts : [...parts.slice(0, most), parts.slice(most).join(by)];
}

/** str.rsplit: the cuts are counted from the end. */
function rsplit(from: string, by: string | undefined, most: number): string[] {
  const parts = split(from, by, -1);
  if (most < 0 || parts.length <= most + (by === undefined ? 0 : 1)) return parts;
  if (by !== undefined) return [parts.slice(0, -most || undefined).join(by), ...(most > 0 ? parts.slice(-most) : [])];
  const reversed = Array.from(from).reverse().join('');
  return split(reversed, undefined, most)
    .reverse()
    .map((part) => Array.from(part).reverse().join(''));
}

/** str.splitlines. */
const LINE_END = '\\r\\n|[\\n-\\r\\x1c-\\x1e\\x85\\u2028\\u2029]';
const [lineEnds, lastLineEnd] = [new RegExp(LINE_END), new RegExp(`(${LINE_END})$`)];
const splitLines = (from: string) => (from === '' ? [] : from.replace(lastLineEnd, '').split(lineEnds));

/** The filter of jinja2: lines but the first, and empty ones, are moved to the right. */
function indent(from: string, by: string, first: boolean, blank: boolean): string {
  const [head = '', ...rest] = splitLines(`${from}\n`);
  return [first ? by + head : head, ...rest.map((line) => (line === '' && !blank ? line : by + line))].join('\n');
}

const capitalize = (from: string) => {
  const [first = '', ...rest] = Array.from(from);
  // Of a letter that becomes two, the second stays small.
  const [capital = '', ...more] = Array.from(first.toUpperCase());
  return capital + (more.join('') + rest.join('')).toLowerCase();
};
/** str.title: a letter after one that is none is a capital. */
const title = (from: string) => from.replace(/\p{L}+/gu, (word) => capitalize(word));
const brackets = new RegExp(`([-${SPACE}({[<]+)`);
/** The filter of that name in jinja2, which knows words by white space and brackets. */
const titleFilter = (from: string) =>
  from
    .split(brackets)
    .map((word) => {
      const [first = '', ...rest] = Array.from(word);
      return first.toUpperCase() + rest.join('').toLowerCase();
    })
    .join('');

function textOf(value: Value | undefined, what: string): string | undefined {
  if (value === undefined || value.type === 'NullValue') return undefined;
  if (value.type !== 'StringValue') throw new Error(`${what} is no text`);
  return value.value as string;
}
const wholeOf = (value: Value | undefined, otherwise: number) => {
  if (value === undefined) return otherwise;
  if (typeof value.value !== 'number') throw new Error('an argument is no number');
  return value.value;
};
const counted = (from: string, part: string) =>
  part === '' ? Array.from(from).length + 1 : from.split(part).length - 1;
const place = (from: string, at: number) => new Whole(at < 0 ? -1 : Array.from(from.slice(0, at)).length);
const needed = (args: Value[]) => textOf(args[0], 'an argument') ?? '';

const methods: Record<string, Method> = {
  strip: (from, [chars]) => text(strip(from, textOf(chars, 'an argument'), true, true)),
  lstrip: (from, [chars]) => text(strip(from, textOf(chars, 'an argument'), true, false)),
  rstrip: (from, [chars]) => text(strip(from, textOf(chars, 'an argument'), false, true)),
  split: (from, [by, most], named) =>
    texts(split(from, textOf(by ?? named.get('sep'), 'sep'), wholeOf(most ?? named.get('maxsplit'), -1))),
  rsplit: (from, [by, most], named) =>
    texts(rsplit(from, textOf(by ?? named.get('sep'), 'sep'), wholeOf(most ?? named.get('maxsplit'), -1))),
  splitlines: (from) => texts(splitLines(from)),
  capitalize: (from) => text(capitalize(from)),
  title: (from) => text(title(from)),
  swapcase: (from) =>
    text(Array.from(from, (c) => (c === c.toUpperCase() ? c.toLowerCase() : c.toUpperCase())).join('')),
  casefold: (from) => text(from.toLowerCase().replaceAll('ß', 'ss')),
  find: (from, args) => place(from, from.indexOf(needed(args))),
  rfind: (from, args) => place(from, from.lastIndexOf(needed(args))),
  count: (from, args) => new Whole(counted(from, needed(args))),
  removeprefix: (from, args) => text(from.startsWith(needed(args)) ? from.slice(needed(args).length) : from),
  removesuffix: (from, args) =>
    text(needed(args) !== '' && from.endsWith(needed(args)) ? from.slice(0, -needed(args).length) : from),
  partition: (from, args) => {
    const [by, at] = [needed(args), from.indexOf(needed(args))];
    return texts(at < 0 ? [from, '', ''] : [from.slice(0, at), by, from.slice(at + by.length)]);
  },
  rpartition: (from, args) => {
    const [by, at] = [needed(args), from.lastIndexOf(needed(args))];
    return texts(at < 0 ? ['', '', from] : [from.slice(0, at), by, from.slice(at + by.length)]);
  },
  join: (from, [list]) => {
    if (list?.type !== 'ArrayValue') throw new Error('join() takes a list');
    return text((list.value as Value[]).map((one) => textOf(one, 'an entry') ?? '').join(from));
  },
  isdigit: (from) => new Truth(/^\p{Nd}+$/u.test(from)),
  isalpha: (from) => new Truth(/^\p{L}+$/u.test(from)),
  isalnum: (from) => new Truth(/^[\p{L}\p{N}]+$/u.test(from)),
  isspace: (from) => new Truth(from !== '' && Array.from(from).every((char) => spaces.test(char))),
  isupper: (from) => new Truth(from !== from.toLowerCase() && from === from.toUpperCase()),
  islower: (from) => new Truth(from !== from.toUpperCase() && from === from.toLowerCase()),
};

const named = (last: Value | undefined): ReadonlyMap<string, Value> | undefined =>
  last?.type === 'KeywordArgumentsValue' ? (last.value as Map<string, Value>) : undefined;

const prototype = Text.prototype as object;
const { get: original } = Object.getOwnPropertyDescriptor(prototype, 'builtins')!;
const known = new WeakSet<object>();
Object.defineProperty(prototype, 'builtins', {
  get(this: Value) {
    const table = original!.call(this) as Map<string, Value>;
    if (known.has(table)) return table;
    known.add(table);
    const own = this.value as string;
    for (const [name, method] of Object.entries(methods)) {
      const call = (args: Value[]) => {
        const names = named(args.at(-1));
        return method(own, names ? args.slice(0, -1) : args, names ?? new Map());
      };
      table.set(name, new Func(call));
    }
    // Code points, as Python counts.
    table.set('length', new Whole(Array.from(own).length));
    return table;
  },
});

// Python prints True and False.
Truth.prototype.toString = function (this: Value) {
  return this.value ? 'True' : 'False';
};

/** ==, which in Python is true of values of one kind: 1 is 1.0 and True, not "1"; what is undefined is no None. */
function same(a: Value, b: Value): boolean {
  const [x, y] = [a.value, b.value];
  if (a.type === 'UndefinedValue' || b.type === 'UndefinedValue') return a.type === b.type;
  if (Array.isArray(x) && Array.isArray(y)) return x.length === y.length && x.every((one, i) => same(one, y[i]));
  if (x instanceof Map && y instanceof Map) {
    return x.size === y.size && [...x].every(([key, one]) => y.has(key) && same(one, y.get(key) as Value));
  }
  const plain = (value: unknown) => (typeof value === 'boolean' ? Number(value) : value);
  return plain(x) === plain(y);
}

type Evaluate = (this: Interpreter, node: never, environment: Environment) => Value;
const interpreter = Interpreter.prototype as unknown as Record<
  'evaluate' | 'evaluateBinaryExpression' | 'evaluateMemberExpression',
  Evaluate
> & {
  applyFilter(operand: Value, filter: unknown, environment: Environment): Value;
  evaluateArguments(args: readonly unknown[], environment: Environment): [Value[], Map<string, Value>];
};
const { evaluateBinaryExpression, applyFilter } = interpreter;

interface Binary {
  operator: { value: string };
  left: never;
  right: never;
}
interpreter.evaluateBinaryExpression = function (node, environment) {
  const { operator, left, right } = node as Binary;
  if (operator.value === '==' || operator.value === '!=') {
    const [a, b] = [
      interpreter.evaluate.call(this, left, environment),
      interpreter.evaluate.call(this, right, environment),
    ];
    return new Truth(same(a, b) === (operator.value === '=='));
  }
  if (operator.value === '~') {
    const [a, b] = [
      interpreter.evaluate.call(this, left, environment),
      interpreter.evaluate.call(this, right, environment),
    ];
    return text(printed(a) + printed(b));
  }
  return evaluateBinaryExpression.call(this, node, environment);
};

function printed(value: Value): string {
  return value.type === 'UndefinedValue' ? '' : value.type === 'NullValue' ? 'None' : String(value);
}

/** The arguments of a filter. */
function argumentsOf(that: Interpreter, args: readonly unknown[], environment: Environment) {
  const evaluate = interpreter.evaluateArguments;
  const [positional, by] = evaluate.call(that, args, environment);
  return { positional, named: by };
}

interface Filter {
  type: string;
  value?: string;
  callee?: { value: string };
  args?: unknown[];
}
interpreter.applyFilter = function (operand, filter, environment) {
  const { type, value, callee, args = [] } = filter as Filter;
  const name = type === 'Identifier' ? value : callee?.value;
  if (operand.type === 'FloatValue' && name === 'int') return new Whole(Math.trunc(operand.value as number));
  if (operand.type !== 'StringValue') return applyFilter.call(this, operand, filter, environment);
  const own = operand.value as string;
  switch (name) {
    case 'indent': {
      const { positional, named: by } = argumentsOf(this as never, args, environment);
      const width = positional[0] ?? by.get('width');
      const prefix = width?.type === 'StringValue' ? (width.value as string) : ' '.repeat(wholeOf(width, 4));
      const isOn = (value: Value | undefined) => value?.value === true;
      return text(indent(own, prefix, isOn(positional[1] ?? by.get('first')), isOn(positional[2] ?? by.get('blank'))));
    }
    case 'trim':
      return methods.strip!(own, argumentsOf(this as never, args, environment).positional, new Map());
    case 'title':
      return text(titleFilter(own));
    case 'capitalize':
      return text(capitalize(own));
    case 'length':
    case 'count':
      return new Whole(Array.from(own).length);
    case 'list':
      return texts(Array.from(own));
    case 'first':
    case 'last': {
      const char = Array.from(own).at(name === 'first' ? 0 : -1);
      return char === undefined ? (sample.lookupVariable('nothing at all') as unknown as Value) : text(char);
    }
    case 'reverse':
      return text(Array.from(own).reverse().join(''));
    case 'wordcount':
      return new Whole((own.match(/\p{L}[\p{L}\p{N}_]*|[\p{N}_][\p{L}\p{N}_]*/gu) ?? []).length);
    default:
      return applyFilter.call(this, operand, filter, environment);
  }
};
