import { UnsupportedError } from '../../base/errors.js';
import { isRecord } from '../../base/json.js';
import { type Dialect, json, literal } from '../grammar/rules.js';
import { type ToolCall, writtenNumber } from '../message.js';
import { callsOf, jsonAt, parseBlocks, repeated, skipWhite, type ToolForm } from './form.js';
import { ValueReader } from './ValueReader.js';

const [BEGIN, END] = ['<|tool_call_start|>', '<|tool_call_end|>'];
const MAX_DEPTH = 64;

/** @throws UnsupportedError for a name that Python would not have */
function argumentName(name: string): string {
  if (/^[\p{L}_][\p{L}\p{N}_.-]*$/u.test(name)) return `${name}=`;
  throw new UnsupportedError({ found: 'an argument of a tool whose name this model cannot write', where: 'tools' });
}

const python: Dialect = {
  ...json,
  rules: { ...json.rules, boolean: '"True" | "False"', null: '"None"' },
  write: (value) => written(value),
};

/** LFM2: a Python list of calls with named arguments between the marks (Liquid AI, LFM2 model card); or a JSON list, if a system message asks for it. */
export const lfm2: ToolForm = {
  name: 'lfm2',
  detects: (template) =>
    template.includes('<|tool_list_start|>') || template.includes(BEGIN) || template.includes('List of tools: ['),
  begin: BEGIN,
  parse: (text) =>
    parseBlocks(text, BEGIN, (at) => {
      const start = skipWhite(text, at);
      const json = jsonAt(text, start);
      const calls = json && callsOf(json.value);
      const read = calls
        ? { calls, end: json.end }
        : (pythonCalls(text, start, false) ?? pythonCalls(text, start, true));
      if (!read) return undefined;
      const end = skipWhite(text, read.end);
      if (text.startsWith(END, end)) return { calls: read.calls, end: end + END.length };
      return end === text.length ? { calls: read.calls, end } : undefined;
    }),
  write: (calls) =>
    `${BEGIN}[${calls
      .map(
        ({ name, arguments: given }) =>
          `${name}(${Object.entries(given)
            .map(([key, value]) => `${key}=${written(value)}`)
            .join(', ')})`,
      )
      .join(', ')}]${END}`,
  stream: {
    heads: [/(?:<\|tool_call_start\|>\[|, )([\w.-]+)\(/],
    argument: (text, at) => new Reader(text, at, false).argument(),
  },
  grammar: {
    dialect: python,
    style: { open: '(', close: ')', key: argumentName },
    calls(rules, tools, several) {
      const each = tools.map(({ name, given }) => `${literal(name)} ${given}`);
      return rules.add(
        `${literal(`${BEGIN}[`)} ${repeated(rules, each.join(' | '), ', ', several)} ${literal(`]${END}`)}`,
      );
    },
  },
};

/** A literal of Python. */
function written(value: unknown): string {
  if (value === true) return 'True';
  if (value === false) return 'False';
  if (value === null || value === undefined) return 'None';
  if (Array.isArray(value)) return `[${value.map(written).join(', ')}]`;
  const number = writtenNumber(value);
  if (number !== undefined) return number;
  if (!isRecord(value)) return JSON.stringify(value);
  return `{${Object.entries(value)
    .map(([key, entry]) => `${JSON.stringify(key)}: ${written(entry)}`)
    .join(', ')}}`;
}

function pythonCalls(text: string, at: number, rawTexts: boolean): { calls: ToolCall[]; end: number } | undefined {
  const reader = new Reader(text, at, rawTexts);
  const calls = reader.calls();
  return calls && calls.length > 0 ? { calls, end: reader.at } : undefined;
}

/** A literal of Python that is the whole of a text; undefined for what is none. */
export function pythonLiteral(text: string): unknown {
  return new Reader(text, 0, false).whole();
}

const CONSTANTS = new Map<string, unknown>([
  ...(['True', 'true'] as const).map((name) => [name, true] as const),
  ...(['False', 'false'] as const).map((name) => [name, false] as const),
  ...(['None', 'null'] as const).map((name) => [name, null] as const),
]);
const ESCAPES: Record<string, string> = { n: '\n', t: '\t', r: '\r', b: '\b', f: '\f', a: '\x07', v: '\v', '0': '\0' };
/** What may follow a text that is an argument, or stands in a list or an object. */
const AFTER_TEXT = /^\s*(?:,\s*[\p{L}_][\p{L}\p{N}_.-]*\s*=|\)\s*(?:\]|,\s*[\p{L}_][\p{L}\p{N}_.-]*\()|[\]}])/u;

/** Calls in Python's syntax, and its literals. */
class Reader extends ValueReader {
  constructor(
    text: string,
    at: number,
    /** Texts were put between quotes as they are, as the templates of LFM2.5 do: a quote that ends none is part of the text. */
    private readonly rawTexts: boolean,
  ) {
    super(text, at);
  }

  protected takes(token: string): boolean {
    const at = skipWhite(this.text, this.at);
    if (!this.text.startsWith(token, at)) return false;
    this.at = at + token.length;
    return true;
  }

  private name(ending: string): string | undefined {
    const from = skipWhite(this.text, this.at);
    const end = this.text.indexOf(ending, from);
    const found = end < 0 ? '' : this.text.slice(from, end).trim();
    if (found === '' || /[\s()[\]{}'",=:<>]/.test(found)) return undefined;
    this.at = end + ending.length;
    return found;
  }

  calls(): ToolCall[] | undefined {
    if (!this.takes('[')) return undefined;
    const calls: ToolCall[] = [];
    if (this.takes(']')) return calls;
    do {
      const name = this.name('(');
      const given = name === undefined ? undefined : this.given();
      if (!given) return undefined;
      calls.push({ name: name!, arguments: given });
    } while (this.takes(','));
    return this.takes(']') ? calls : undefined;
  }

  private given(): Record<string, unknown> | undefined {
    return this.entries(')', 0, () => this.name('='));
  }

  argument() {
    return this.next(')', 0, () => this.name('='));
  }

  whole(): unknown {
    const value = this.value(0);
    return skipWhite(this.text, this.at) === this.text.length ? value : undefined;
  }

  /** Undefined for what is no literal. */
  protected value(depth: number): unknown {
    if (depth > MAX_DEPTH) return undefined;
    this.at = skipWhite(this.text, this.at);
    const char = this.text[this.at];
    if (char === '"' || char === "'") return this.string(char);
    if (this.takes('[')) return this.list(depth);
    if (this.takes('{')) return this.object(depth);
    const word = /^[\w.+-]+/.exec(this.text.slice(this.at, this.at + 400))?.[0] ?? '';
    this.at += word.length;
    if (CONSTANTS.has(word)) return CONSTANTS.get(word);
    return /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(word) ? Number(word) : undefined;
  }

  private string(quote: string): string | undefined {
    let found = '';
    for (let at = this.at + 1; at < this.text.length; at++) {
      const char = this.text[at]!;
      if (char === quote && (!this.rawTexts || AFTER_TEXT.test(this.text.slice(at + 1, at + 200)))) {
        this.at = at + 1;
        return found;
      }
      if (char !== '\\' || this.rawTexts) {
        found += char;
        continue;
      }
      const next = this.text[++at] ?? '';
      const hex = { u: 4, x: 2, U: 8 }[next];
      if (hex === undefined) {
        found += ESCAPES[next] ?? (`'"\\/`.includes(next) ? next : `\\${next}`);
        continue;
      }
      const digits = this.text.slice(at + 1, at + 1 + hex);
      const code = /^[0-9a-fA-F]+$/.test(digits) && digits.length === hex ? Number.parseInt(digits, 16) : -1;
      if (code < 0 || code > 0x10ffff) return undefined;
      found += hex === 4 ? String.fromCharCode(code) : String.fromCodePoint(code);
      at += hex;
    }
    return undefined;
  }

  private object(depth: number): Record<string, unknown> | undefined {
    return this.entries('}', depth + 1, () => {
      const key = this.value(depth + 1);
      return typeof key === 'string' && this.takes(':') ? key : undefined;
    });
  }
}
