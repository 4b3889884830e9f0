import { UnsupportedError } from '../../base/errors.js';
import { type Dialect, exclude, json, literal, oneOf, UNMARKED, without } from '../grammar/rules.js';
import type { ToolCall } from '../message.js';
import { parseBlocks, repeated, type StreamedArgument, type ToolForm } from './form.js';
import { argumentValue, needsQuotes, prepareSchemas, type ValueForm } from './textValue.js';

/** Calls whose arguments stand one by one between marks that begin with "<", texts as they are: only the tool's schema tells them from other values. */

/** What stands around a name, as it is written, and as it is read: the name is its group. */
interface Tag {
  before: string;
  after: string;
  read: RegExp;
}

export interface Tags {
  name: string;
  call: Tag;
  /** Of one argument; `read` is sticky. */
  argument: Tag;
  value: TaggedValue;
  /** Behind the last argument; `read` is sticky. */
  end: { text: string; read: RegExp };
}

export interface TaggedValue extends ValueForm {
  /** What is no text. */
  write(value: unknown): string;
  /** Rules of constants that are written otherwise than in JSON. */
  constants?: { boolean: string; null: string };
}

const LESS = '<'.charCodeAt(0);

/** The marks begin with "<", which texts within JSON can do without. */
const nested: Dialect = {
  ...json,
  rules: { ...json.rules, char: json.rules.char!.replace(/^\[[^\]]*\]/, oneOf(exclude(json.texts.plain, [LESS]))) },
  texts: { ...json.texts, plain: exclude(json.texts.plain, [LESS]) },
  write: (value) => JSON.stringify(value).replaceAll('<', '\\u003C'),
};

/** Texts as they are, other values as JSON. @param mark that ends them */
function dialectOf({ write, constants }: TaggedValue, mark: string): Dialect {
  const unmarked = without(mark, [...UNMARKED, [LESS, LESS]], (at) => (at === 0 ? 'raw' : `raw-${at}`));
  return {
    ...nested,
    rules: {
      ...nested.rules,
      ...Object.fromEntries(unmarked),
      rawChar: oneOf(UNMARKED),
      ...(constants && { rawBoolean: constants.boolean, rawNull: constants.null }),
    },
    own: {
      value: 'raw',
      string: 'raw',
      char: 'rawChar',
      ...(constants && { boolean: 'rawBoolean', null: 'rawNull' }),
    },
    texts: { mark: '', plain: UNMARKED, escapes: false },
    write(value) {
      if (typeof value === 'object' && value !== null) return nested.write(value);
      if (typeof value !== 'string') return write(value);
      if (!value.includes(mark)) return value;
      throw new UnsupportedError({ found: `a constant with "${mark}", which this model cannot write`, where: 'tools' });
    },
  };
}

/** A form of calls between such marks. */
export function taggedForm({ name, call, argument, value: values, end }: Tags): ToolForm {
  const marks = call.before.split('\n');
  const [begin = ''] = marks;
  const mark = values.end.trim();
  const named = (key: string) => argument.before + key + argument.after;

  function written(value: unknown): string {
    const isText = typeof value === 'string';
    if (isText && !needsQuotes(value, values)) return value;
    const text = isText ? JSON.stringify(value) : values.write(value);
    return text.replaceAll(mark, mark.replace('<', '\\u003C'));
  }

  /** The argument at a place, or the end of the call. @param schema of all arguments */
  function argumentAt(text: string, from: number, schema?: Record<string, unknown>): StreamedArgument | undefined {
    const last = at(end.read, text, from);
    if (last) return { isLast: true, end: from + last[0].length };
    const key = at(argument.read, text, from);
    if (!key) return undefined;
    const start = from + key[0].length;
    const stop = text.indexOf(mark, start);
    if (stop < 0) return undefined;
    // A line break before the mark is part of it, and may be the one behind the name.
    const isOwnLine = values.end.startsWith('\n') && stop > start && text[stop - 1] === '\n';
    const value = argumentValue(text.slice(start, stop - (isOwnLine ? 1 : 0)), key[1]!, values, schema);
    return { entry: [key[1]!, value], isLast: false, end: stop + mark.length };
  }

  return {
    name,
    detects: (template) => [...marks, argument.before].every((one) => template.includes(one)),
    prepare: prepareSchemas,
    begin,
    parse: (text, tools) =>
      parseBlocks(text, begin, (behind) => {
        const start = behind - begin.length;
        const head = call.read.exec(text.slice(start, start + 1000));
        if (head?.index !== 0) return undefined;
        const name = head[1]!;
        const schema = tools?.find((tool) => tool.name === name)?.parameters;
        const entries: [string, unknown][] = [];
        for (let next = start + head[0].length; ; ) {
          const found = argumentAt(text, next, schema);
          if (!found) return undefined;
          if (found.entry) entries.push([...found.entry]);
          next = found.end;
          if (!found.isLast) continue;
          const calls: ToolCall[] = [{ name, arguments: Object.fromEntries(entries) }];
          return { calls, end: found.end };
        }
      }),
    write: (calls) =>
      calls
        .map(({ name, arguments: given }) => {
          const all = Object.entries(given).map(([key, value]) => named(key) + written(value) + values.end);
          return call.before + name + call.after + all.join('') + end.text;
        })
        .join('\n'),
    stream: { heads: [call.read], argument: argumentAt },
    grammar: {
      dialect: dialectOf(values, mark),
      style: {
        open: '',
        close: '',
        key(key) {
          if (at(argument.read, named(key), 0)?.[1] === key) return named(key);
          const found = 'an argument of a tool whose name this model cannot write';
          throw new UnsupportedError({ found, where: 'tools' });
        },
        values: { end: values.end, between: '', nested },
      },
      calls(rules, tools, several) {
        const each = tools.map(({ name, given }) => `${literal(name + call.after)} ${given}`);
        return repeated(rules, `${literal(call.before)} (${each.join(' | ')}) ${literal(end.text)}`, '\n', several);
      },
    },
  };
}

/** What a sticky expression finds at a place. */
function at(expression: RegExp, text: string, place: number): RegExpExecArray | null {
  expression.lastIndex = place;
  return expression.exec(text);
}
