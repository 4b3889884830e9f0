import { isRecord } from '../../base/json.js';
import type { MemberStyle } from '../grammar/objects.js';
import { type Dialect, literal, type Rules } from '../grammar/rules.js';
import { type Tool, type ToolCall, writtenNumber } from '../message.js';
import { pythonJson } from '../pythonJson.js';

/** How a family of models writes calls of tools in its answers. */
export interface ToolForm {
  name: string;
  /** Whether a chat template of this source has its models call in this form. */
  detects(template: string): boolean;
  /** Awaited before anything is parsed in this form. */
  prepare?(): Promise<void>;
  /** What opens a call: an answer that is streamed is held back from here. */
  begin: string;
  /** Others that do. */
  alsoBegins?: readonly string[];
  /** A text that ends an answer after its calls and that is no token which ends every answer. */
  stop?: string;
  /**
   * Reads a whole answer, its special tokens as text. What is no call, broken ones too, is content.
   * @param tools those that may be called: some forms write texts so that only a schema tells them from other values
   */
  parse(text: string, tools?: readonly Tool[]): ParsedAnswer;
  /** Calls as the family's models write them. */
  write(calls: readonly ToolCall[]): string;
  /** What a call may be, to the letter. */
  grammar: CallGrammar;
  /** How calls that keep to the grammar are read before they are whole. */
  stream: StreamedCalls;
}

export interface StreamedCalls {
  /** What stands before the arguments of a call; groups: its name, its id. */
  heads: readonly RegExp[];
  /**
   * Where arguments are no JSON: reads the next one and what stands behind it, or what stands behind the last one.
   * @param schema of the arguments, if it is known
   * @returns undefined if it is not whole yet
   */
  argument?(text: string, at: number, schema: Tool['parameters']): StreamedArgument | undefined;
}

export interface StreamedArgument {
  entry?: readonly [name: string, value: unknown];
  isLast: boolean;
  /** The place behind it. */
  end: number;
}

/** Calls as JSON objects. */
export const jsonStream: StreamedCalls = { heads: [/\{"name": "([\w.-]+)", "arguments": (?=\{)/] };

/** A tool, with the rule of its arguments. */
export interface CallableTool {
  name: string;
  given: string;
}

export interface CallGrammar {
  /** How arguments are written. */
  dialect: Dialect;
  /** How those of a call are written, if not as other objects are. */
  style?: MemberStyle;
  /** A rule of calls, from what opens them to what closes them. @param several whether there may be more than one */
  calls(rules: Rules, tools: readonly CallableTool[], several: boolean): string;
  /** A rule of answers that call nothing, where calls are no blocks within a text. */
  without?(rules: Rules): string;
}

/** One rule after the other, with a text between. */
export function repeated(rules: Rules, one: string, between: string, several: boolean): string {
  const name = rules.add(one);
  return several ? rules.add(`${name} (${literal(between)} ${name})*`) : name;
}

export interface ParsedAnswer {
  content: string;
  calls: ToolCall[];
  /** Where a form has its own marks for thoughts. */
  thought?: string;
}

/** The place behind white space. */
export function skipWhite(text: string, at: number): number {
  let end = at;
  while (end < text.length && /\s/.test(text[end]!)) end++;
  return end;
}

/** The JSON object or list that begins at a place, and the place behind it; undefined if none does. */
export function jsonAt(text: string, at: number): { value: unknown; end: number } | undefined {
  if (text[at] !== '{' && text[at] !== '[') return undefined;
  let depth = 0;
  let inString = false;
  for (let end = at; end < text.length; end++) {
    const char = text[end]!;
    if (inString) {
      if (char === '\\') end++;
      else if (char === '"') inString = false;
    } else if (char === '"') inString = true;
    else if (char === '{' || char === '[') depth++;
    else if ((char === '}' || char === ']') && --depth === 0) {
      try {
        return { value: JSON.parse(text.slice(at, end + 1)) as unknown, end: end + 1 };
      } catch {
        return undefined;
      }
    }
  }
  return undefined;
}

/** A call as JSON: its name, and its arguments under `arguments` or `parameters`, as an object or as the text of one. */
export function callOf(value: unknown): ToolCall | undefined {
  if (!isRecord(value) || typeof value.name !== 'string' || value.name === '') return undefined;
  let given: unknown = value.arguments ?? value.parameters ?? {};
  if (typeof given === 'string') {
    try {
      given = given.trim() === '' ? {} : (JSON.parse(given) as unknown);
    } catch {
      return undefined;
    }
  }
  if (!isRecord(given)) return undefined;
  const { id, name } = value;
  return { ...(typeof id === 'string' && id !== '' && { id }), name, arguments: given };
}

/** One call, or a list of them. */
export function callsOf(value: unknown): ToolCall[] | undefined {
  const list = (Array.isArray(value) ? value : [value]).map(callOf);
  return list.length > 0 && list.every((call) => call !== undefined) ? list : undefined;
}

/** Blocks that are no calls: looking at each may take as long as the text is. */
const MAX_BROKEN = 50;

/**
 * An answer whose calls stand in blocks, each begun by `begin`.
 * @param readBlock the calls of a block and the place behind it, given the place behind `begin`; undefined for one that is broken
 */
export function parseBlocks(
  text: string,
  begin: string,
  readBlock: (at: number) => { calls: ToolCall[]; end: number } | undefined,
): ParsedAnswer {
  const calls: ToolCall[] = [];
  let content = '';
  let done = 0;
  let broken = 0;
  for (let at = text.indexOf(begin); at >= 0; at = text.indexOf(begin, Math.max(at + 1, done))) {
    const block = readBlock(at + begin.length);
    if (!block) {
      if (++broken === MAX_BROKEN) break;
      continue;
    }
    content += text.slice(done, at);
    calls.push(...block.calls);
    done = block.end;
  }
  return calls.length === 0 ? { content: text, calls } : { content: (content + text.slice(done)).trim(), calls };
}

/** An answer with calls as JSON, one or a list of them, behind a mark and before another, which may be missing at the end of the turn. */
export function parseMarked(text: string, begin: string, end: string): ParsedAnswer {
  return parseBlocks(text, begin, (at) => {
    const json = jsonAt(text, skipWhite(text, at));
    const calls = json && callsOf(json.value);
    if (!calls) return undefined;
    const after = skipWhite(text, json.end);
    if (end !== '' && text.startsWith(end, after)) return { calls, end: after + end.length };
    // The turn ended without the closing mark.
    return after === text.length ? { calls, end: after } : undefined;
  });
}

/** Rules of calls as JSON objects with name and arguments. @param key that the arguments have */
export function jsonCalls(tools: readonly CallableTool[], key: 'arguments' | 'parameters' = 'arguments'): string {
  return tools
    .map(({ name, given }) => `${literal(`{"name": ${JSON.stringify(name)}, "${key}": `)} ${given} "}"`)
    .join(' | ');
}

/** Calls as JSON objects with name and arguments. */
export const writeJsonCalls = (calls: readonly ToolCall[]) =>
  calls.map(({ name, arguments: given }) => pythonJson({ name, arguments: given }));

/** Whether both call the same tools with the same arguments, in this order; ids, and the order of arguments, aside. */
export function sameCalls(a: readonly ToolCall[], b: readonly ToolCall[]): boolean {
  const forms = (calls: readonly ToolCall[]) => calls.map((call) => sortedJson([call.name, call.arguments]));
  return a.length === b.length && forms(a).every((form, i) => form === forms(b)[i]);
}

function sortedJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(sortedJson).join(',')}]`;
  const number = writtenNumber(value);
  if (number !== undefined) return JSON.stringify(Number(number));
  if (!isRecord(value)) return JSON.stringify(value) ?? 'null';
  const keys = Object.keys(value).sort();
  return `{${keys.map((key) => `${JSON.stringify(key)}:${sortedJson(value[key])}`).join(',')}}`;
}
