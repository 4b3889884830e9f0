import { List, printed, Text, Truth, type Value, Whole } from './pythonValues.js';

/** Texts of the Jinja interpreter: Python's methods of str, and jinja2's filters on texts. */

type Method = (text: string, args: Value[], named: ReadonlyMap<string, Value>) => Value;

export const text = (value: string) => new Text(value);
export const texts = (values: readonly string[]) => new List(values.map(text));

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
export function indent(from: string, by: string, first: boolean, blank: boolean): string {
  const [head = '', ...rest] = splitLines(`${from}\n`);
  return [first ? by + head : head, ...rest.map((line) => (line === '' && !blank ? line : by + line))].join('\n');
}

export const capitalize = (from: string) => {
  const [first = '', ...rest] = Array.from(from);
  // Of a letter that becomes two, the second stays small.
  const [capital = '', ...more] = Array.from(first.toUpperCase());
  return capital + (more.join('') + rest.join('')).toLowerCase();
};
/** str.title: a letter after one that is none is a capital. */
const title = (from: string) => from.replace(/\p{L}+/gu, (word) => capitalize(word));
const brackets = new RegExp(`([-${SPACE}({[<]+)`);
/** The filter of that name in jinja2, which knows words by white space and brackets. */
export const titleFilter = (from: string) =>
  from
    .split(brackets)
    .map((word) => {
      const [first = '', ...rest] = Array.from(word);
      return first.toUpperCase() + rest.join('').toLowerCase();
    })
    .join('');

export function textOf(value: Value | undefined, what: string): string | undefined {
  if (value === undefined || value.type === 'NullValue') return undefined;
  if (value.type !== 'StringValue') throw new Error(`${what} is no text`);
  return value.value as string;
}
export const wholeOf = (value: Value | undefined, otherwise: number) => {
  if (value === undefined) return otherwise;
  if (typeof value.value !== 'number') throw new Error('an argument is no number');
  return value.value;
};
const counted = (from: string, part: string) =>
  part === '' ? Array.from(from).length + 1 : from.split(part).length - 1;
const place = (from: string, at: number) => new Whole(at < 0 ? -1 : Array.from(from.slice(0, at)).length);
const needed = (args: Value[]) => textOf(args[0], 'an argument') ?? '';

export const methods: Record<string, Method> = {
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
  format: (from, args, named) => {
    let next = 0;
    return text(
      from.replace(/\{\{|\}\}|\{(\w*)\}/g, (found, name: string | undefined) => {
        if (name === undefined) return found[0]!;
        const value = name === '' ? args[next++] : /^\d+$/.test(name) ? args[Number(name)] : named.get(name);
        if (value === undefined) throw new Error('format() lacks an argument');
        return printed(value);
      }),
    );
  },
  isdigit: (from) => new Truth(/^\p{Nd}+$/u.test(from)),
  isalpha: (from) => new Truth(/^\p{L}+$/u.test(from)),
  isalnum: (from) => new Truth(/^[\p{L}\p{N}]+$/u.test(from)),
  isspace: (from) => new Truth(from !== '' && Array.from(from).every((char) => spaces.test(char))),
  isupper: (from) => new Truth(from !== from.toLowerCase() && from === from.toUpperCase()),
  islower: (from) => new Truth(from !== from.toUpperCase() && from === from.toLowerCase()),
};
