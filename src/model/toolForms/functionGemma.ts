import { isRecord } from '../../base/json.js';
import { type Dialect, json, literal, oneOf, UNMARKED } from '../grammar/rules.js';
import { type ToolCall, writtenNumber } from '../message.js';
import { parseBlocks, repeated, type ToolForm } from './form.js';
import { ValueReader } from './ValueReader.js';

const [BEGIN, END, QUOTE] = ['<start_function_call>', '<end_function_call>', '<escape>'];
/** Deeper ones are no call. */
const MAX_DEPTH = 64;

const gemma: Dialect = {
  rules: {
    ws: '""',
    char: oneOf(UNMARKED),
    string: `${literal(QUOTE)} char* ${literal(QUOTE)}`,
    integer: json.rules.integer!,
    number: json.rules.number!,
    boolean: json.rules.boolean!,
    null: '"None"',
    value: json.rules.value!,
    member: '[A-Za-z_] [A-Za-z0-9_]* ":" value',
    object: '"{" (member ("," member)*)? "}"',
    array: '"[" (value ("," value)*)? "]"',
  },
  write: (value) => written(value),
  key: (name) => (/^[\w.-]+$/.test(name) ? name : QUOTE + name + QUOTE),
  texts: { mark: QUOTE, plain: UNMARKED, escapes: false },
  names: {
    mark: '',
    plain: [
      [0x30, 0x39],
      [0x41, 0x5a],
      [0x5f, 0x5f],
      [0x61, 0x7a],
    ],
  },
};

/** FunctionGemma: `call:NAME{key:value,...}` between marks, texts between marks of their own, keys in order (Google, FunctionGemma formatting). */
export const functionGemma: ToolForm = {
  name: 'functionGemma',
  detects: (template) => template.includes(BEGIN),
  begin: BEGIN,
  stop: '<start_function_response>',
  parse: (text) =>
    parseBlocks(text, BEGIN, (at) => {
      const head = /^\s*call:([^\s{}]+?)\s*(?=\{)/.exec(text.slice(at, at + 1000));
      if (!head) return undefined;
      const reader = new Reader(text, at + head[0].length);
      const given = reader.value(0);
      if (!isRecord(given) || !text.startsWith(END, reader.at)) return undefined;
      const calls: ToolCall[] = [{ name: head[1]!, arguments: given }];
      let end = reader.at + END.length;
      // The results of the calls would follow.
      if (text.startsWith(functionGemma.stop!, end)) end += functionGemma.stop!.length;
      return { calls, end };
    }),
  write: (calls) => calls.map(({ name, arguments: given }) => `${BEGIN}call:${name}${written(given)}${END}`).join(''),
  stream: {
    heads: [/<start_function_call>call:([\w.-]+)\{/],
    argument: (text, at) => new Reader(text, at).argument(),
  },
  grammar: {
    dialect: gemma,
    calls(rules, tools, several) {
      const each = tools.map(({ name, given }) => `${literal(`call:${name}`)} ${given}`);
      const one = `${literal(BEGIN)} (${each.join(' | ')}) ${literal(END)}`;
      // It would wait for the results.
      return `${repeated(rules, one, '', several)} ${literal('<start_function_response>')}?`;
    },
  },
};

function written(value: unknown): string {
  if (typeof value === 'string') return QUOTE + value + QUOTE;
  if (Array.isArray(value)) return `[${value.map(written).join(',')}]`;
  const number = writtenNumber(value);
  if (number !== undefined) return number;
  if (!isRecord(value)) return value === null || value === undefined ? 'None' : String(value);
  // As the filter dictsort has it: by lower case.
  const keys = Object.keys(value).sort((a, b) => (a.toLowerCase() < b.toLowerCase() ? -1 : 1));
  return `{${keys.map((key) => `${key}:${written(value[key])}`).join(',')}}`;
}

/** Reads one value. */
class Reader extends ValueReader {
  protected takes(token: string): boolean {
    if (!this.text.startsWith(token, this.at)) return false;
    this.at += token.length;
    return true;
  }

  /** Undefined for what is no value. */
  value(depth: number): unknown {
    if (depth > MAX_DEPTH) return undefined;
    if (this.takes(QUOTE)) return this.until(QUOTE);
    if (this.takes('{')) return this.object(depth);
    if (this.takes('[')) return this.list(depth);
    const word = /^[^,{}[\]<>\s]+/.exec(this.text.slice(this.at, this.at + 400))?.[0] ?? '';
    this.at += word.length;
    if (word === 'true' || word === 'True') return true;
    if (word === 'false' || word === 'False') return false;
    if (word === 'null' || word === 'None') return null;
    return /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(word) ? Number(word) : undefined;
  }

  private until(mark: string): string | undefined {
    const end = this.text.indexOf(mark, this.at);
    if (end < 0) return undefined;
    const found = this.text.slice(this.at, end);
    this.at = end + mark.length;
    return found;
  }

  private object(depth: number): Record<string, unknown> | undefined {
    return this.entries('}', depth + 1, () => this.key());
  }

  private key(): string | undefined {
    const key = this.takes(QUOTE) ? this.quotedKey() : this.until(':');
    return key === '' ? undefined : key?.trim();
  }

  argument() {
    return this.next('}', 1, () => this.key());
  }

  private quotedKey(): string | undefined {
    const key = this.until(QUOTE);
    return this.takes(':') ? key : undefined;
  }
}
