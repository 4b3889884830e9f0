import { Check } from 'typebox/schema';
import { UnsupportedError } from '../../base/errors.js';
import { isRecord } from '../../base/json.js';
import { type Dialect, exclude, json, literal, oneOf, UNMARKED } from '../grammar/rules.js';
import type { Tool, ToolCall } from '../message.js';
import { pythonJson } from '../pythonJson.js';
import { parseBlocks, repeated, type StreamedArgument, skipWhite, type ToolForm } from './form.js';

const [BEGIN, END] = ['<tool_call>', '</tool_call>'];
const [KEY, KEY_END] = ['<arg_key>', '</arg_key>'];
const [VALUE, VALUE_END] = ['<arg_value>', '</arg_value>'];

/** A text as it is, other values as JSON; texts that look like those are told apart by the tool's schema. */
const written = (value: unknown) =>
  typeof value !== 'string' ? pythonJson(value) : jsonOf(value) === undefined ? value : JSON.stringify(value);

/** Undefined for what is no JSON. */
function jsonOf(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined;
  }
}

/** The marks begin with "<", which texts within JSON can do without. */
const nested: Dialect = {
  ...json,
  rules: {
    ...json.rules,
    char: json.rules.char!.replace(/^\[[^\]]*\]/, oneOf(exclude(json.texts.plain, ['<'.charCodeAt(0)]))),
  },
  texts: { ...json.texts, plain: exclude(json.texts.plain, ['<'.charCodeAt(0)]) },
  write: (value) => JSON.stringify(value).replaceAll('<', '\\u003C'),
};
const raw: Dialect = {
  ...nested,
  rules: { ...nested.rules, rawChar: oneOf(UNMARKED), raw: 'rawChar*' },
  own: { value: 'raw', string: 'raw', char: 'rawChar' },
  texts: { mark: '', plain: UNMARKED, escapes: false },
  write(value) {
    if (typeof value !== 'string') return nested.write(value);
    if (!value.includes('<')) return value;
    throw new UnsupportedError({ found: 'a constant with "<", which this model cannot write', where: 'tools' });
  },
};

/** GLM-4.5 and later: the name between marks, then names and values of arguments between marks of their own (Z.ai, GLM-4.5 chat template). */
export const glm45: ToolForm = {
  name: 'glm45',
  detects: (template) => template.includes(BEGIN) && template.includes(KEY),
  begin: BEGIN,
  parse: (text, tools) =>
    parseBlocks(text, BEGIN, (at) => {
      const [, name] = /^\s*([^\s<]+)\s*(?=<)/.exec(text.slice(at, at + 1000)) ?? [];
      if (name === undefined) return undefined;
      const entries: [string, unknown][] = [];
      for (let next = text.indexOf('<', at); ; ) {
        const found = argumentAt(text, next, tools?.find((tool) => tool.name === name)?.parameters);
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
        const all = Object.entries(given).map(
          ([key, value]) => `${KEY}${key}${KEY_END}\n${VALUE}${written(value)}${VALUE_END}\n`,
        );
        return `${BEGIN}${name}\n${all.join('')}${END}`;
      })
      .join('\n'),
  stream: { heads: [/<tool_call>([\w.-]+)\n/], argument: argumentAt },
  grammar: {
    dialect: raw,
    style: {
      open: '',
      close: '\n',
      key(name) {
        if (!name.includes('<')) return `\n${KEY}${name}${KEY_END}\n${VALUE}`;
        throw new UnsupportedError({
          found: 'an argument of a tool whose name this model cannot write',
          where: 'tools',
        });
      },
      values: { end: VALUE_END, between: '', nested },
    },
    calls(rules, tools, several) {
      const each = tools.map(({ name, given }) => `${literal(name)} ${given}`);
      return repeated(rules, `${literal(BEGIN)} (${each.join(' | ')}) ${literal(END)}`, '\n', several);
    },
  },
};

/** The argument at a place, or the end of the call. @param schema of all arguments */
function argumentAt(text: string, from: number, schema?: Tool['parameters']): StreamedArgument | undefined {
  const at = skipWhite(text, from);
  if (text.startsWith(END, at)) return { isLast: true, end: at + END.length };
  const keyEnd = text.indexOf(KEY_END, at);
  if (!text.startsWith(KEY, at) || keyEnd < 0) return undefined;
  const value = skipWhite(text, keyEnd + KEY_END.length);
  const end = text.indexOf(VALUE_END, value);
  if (!text.startsWith(VALUE, value) || end < 0) return undefined;
  const key = text.slice(at + KEY.length, keyEnd);
  return {
    entry: [key, valueIn(text.slice(value + VALUE.length, end), schema, key)],
    isLast: false,
    end: end + VALUE_END.length,
  };
}

/** What a written value is, by the schema of its argument if there is one. */
function valueIn(text: string, { properties, $defs, definitions }: Record<string, unknown> = {}, key: string): unknown {
  const found = jsonOf(text);
  if (!found) return text;
  const { value } = found;
  const own = isRecord(properties) && Object.hasOwn(properties, key) ? properties[key] : undefined;
  if (!isRecord(own)) return value;
  if (typeof value === 'string' || own.type === 'string') return text;
  // A pattern of a stranger is not run.
  if (JSON.stringify(own).includes('"pattern')) return value;
  try {
    const schema = { ...own, ...($defs !== undefined && { $defs }), ...(definitions !== undefined && { definitions }) };
    return Check(schema, value) || !Check(schema, text) ? value : text;
  } catch {
    return value;
  }
}
