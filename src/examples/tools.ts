import { NUMBER_KEY, type Tool, type ToolCall } from '../model/message.js';

import { pythonJson } from '../model/pythonJson.js';
import { lfm2 } from '../model/toolForms/lfm2.js';
import { BadRecord, type Remark } from './example.js';
import { isObject, kindOf, readFilledText, readText, WrittenNumber } from './fields.js';
import { parseText } from './readers/jsonText.js';

/** Tools beside a conversation, the calls of an answer, and its thought, in the forms in which data sets have them. */

/** Fields of a record that hold tools: OpenAI's, and those of its first API for functions. */
export const TOOLS = ['tools', 'functions'];

/** A value that may be written as JSON in a text. @throws BadRecord when such a text is none */
function parsed(value: unknown, name: string, expected: string): unknown {
  if (typeof value !== 'string') return value;
  if (value.trim() === '') return undefined;
  try {
    return parseText(value);
  } catch {
    throw new BadRecord('wrong-type', `${name} is a text that is not JSON, expected ${expected}`);
  }
}

/** Only what JSON has: a number that is kept as it is written becomes an object that stands for it (`NUMBER_KEY`). */
export function plainJson(value: unknown): unknown {
  if (value instanceof WrittenNumber) return { [NUMBER_KEY]: value.text };
  if (Array.isArray(value)) return value.map(plainJson);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, plainJson(entry)]));
}

function refuseText(value: unknown, name: string, remarks: Remark[]): void {
  if (typeof value === 'string') readText(value, name, remarks);
  else if (Array.isArray(value)) for (const entry of value) refuseText(entry, name, remarks);
  else if (isObject(value)) {
    for (const [key, entry] of Object.entries(value)) {
      readText(key, name, remarks);
      refuseText(entry, name, remarks);
    }
  }
}

function readName(value: unknown, name: string): string {
  if (typeof value === 'string' && /\S/.test(value) && value.length <= 200) return value;
  throw new BadRecord('missing-field', `${name} has no name`);
}

/**
 * The tools of a record: a list of OpenAI's objects `{type: "function", function: {...}}` or of what those hold, or the JSON of one.
 * Undefined for none.
 */
export function readTools(value: unknown, name: string, remarks: Remark[], unused: Set<string>): Tool[] | undefined {
  const found = parsed(value, `"${name}"`, 'a list of tools') ?? [];
  const list = isObject(found) ? [found] : found;
  if (!Array.isArray(list)) {
    throw new BadRecord('wrong-type', `"${name}" is ${kindOf(list)}, expected a list of tools`);
  }
  const tools = list.map((entry: unknown, i): Tool => {
    const place = `${name}[${i}]`;
    const tool = parsed(entry, place, 'a tool');
    if (!isObject(tool)) throw new BadRecord('wrong-type', `${place} is ${kindOf(tool ?? null)}, expected a tool`);
    if (!isObject(tool.function) && tool.type !== undefined && tool.type !== 'function' && !('name' in tool)) {
      throw new BadRecord('wrong-type', `${place} is not of type function, which is all that can be called`);
    }
    const {
      name: given,
      description,
      parameters,
      input_schema: schema,
      ...more
    } = isObject(tool.function) ? tool.function : tool;
    for (const key of Object.keys(more)) if (key !== 'type' && key !== 'strict') unused.add(`${name}.${key}`);
    const accepted = parsed(parameters ?? schema, `${place}.parameters`, 'a JSON schema') ?? undefined;
    if (accepted !== undefined && !isObject(accepted)) {
      throw new BadRecord('wrong-type', `${place}.parameters is ${kindOf(accepted)}, expected a JSON schema`);
    }
    refuseText(accepted, `${place}.parameters`, remarks);
    return {
      name: readName(given, place),
      ...(description !== undefined &&
        description !== null && { description: readText(description, `${place}.description`, remarks) }),
      ...(accepted && { parameters: plainJson(accepted) as Record<string, unknown> }),
    };
  });
  return tools.length === 0 ? undefined : tools;
}

/** One call: OpenAI's object or what its `function` holds, its arguments an object or the JSON of one. */
function readCall(value: unknown, name: string, remarks: Remark[]): ToolCall {
  if (!isObject(value)) throw new BadRecord('wrong-type', `${name} is ${kindOf(value)}, expected a call of a tool`);
  const call = isObject(value.function) ? value.function : value;
  const given = parsed(call.arguments ?? call.parameters, `${name}.arguments`, 'the JSON of an object') ?? {};
  if (!isObject(given)) {
    throw new BadRecord('wrong-type', `${name}.arguments is ${kindOf(given)}, expected an object or its JSON`);
  }
  refuseText(given, `${name}.arguments`, remarks);
  const { id } = value;
  return {
    ...(typeof id === 'string' && id !== '' && { id: readText(id, `${name}.id`, remarks) }),
    name: readName(call.name, name),
    arguments: plainJson(given) as Record<string, unknown>,
  };
}

/** The calls that a message holds: in `tool_calls`, or in `function_call`, as OpenAI had it first. */
export function readCalls(message: Record<string, unknown>, name: string, remarks: Remark[]): ToolCall[] {
  const calls: ToolCall[] = [];
  const many = parsed(message.tool_calls, `${name}.tool_calls`, 'a list of calls') ?? [];
  if (!Array.isArray(many)) {
    throw new BadRecord('wrong-type', `${name}.tool_calls is ${kindOf(many)}, expected a list of calls`);
  }
  for (const [i, call] of many.entries()) calls.push(readCall(call, `${name}.tool_calls[${i}]`, remarks));
  const one = parsed(message.function_call, `${name}.function_call`, 'a call of a tool') ?? undefined;
  if (one !== undefined) calls.push(readCall(one, `${name}.function_call`, remarks));
  return calls;
}

/**
 * The calls that the text of a message is, as in LLaMA-Factory's role function_call: JSON of a call or of a list, or calls as Python writes
 * them; a thought may stand before them. A text that is neither stays one.
 */
export function readCallText(
  value: unknown,
  name: string,
  remarks: Remark[],
): { calls: ToolCall[]; content: string; reasoning?: string } {
  const text = typeof value === 'string' ? value : '';
  const thought = /^\s*<think>(.*?)<\/think>/su.exec(text);
  const given = typeof value === 'string' ? text.slice(thought?.[0].length ?? 0).trim() : value;
  const found = typeof given === 'string' ? (jsonOrUndefined(given) ?? pythonCalls(given)) : given;
  if (found === undefined) {
    const content = readFilledText(value, name, remarks);
    remarks.push({ kind: 'converted', reason: `${name} is no call that can be read and is learnt as a text` });
    return { calls: [], content };
  }
  const list: unknown[] = Array.isArray(found) ? found : [found];
  if (list.length === 0) throw new BadRecord('empty', `${name} holds no call`);
  const calls = list.map((call, i) => readCall(call, list.length === 1 ? name : `${name}[${i}]`, remarks));
  return { calls, content: '', ...(thought && { reasoning: thought[1]!.trim() }) };
}

function jsonOrUndefined(text: string): unknown {
  try {
    const value = parseText(text);
    return typeof value === 'object' ? value : undefined;
  } catch {
    return undefined;
  }
}

/** `f(a=1)`, or a list of such calls. */
function pythonCalls(text: string): ToolCall[] | undefined {
  const { calls } = lfm2.parse(`${lfm2.begin}${text.startsWith('[') ? text : `[${text}]`}`);
  return calls.length > 0 ? calls : undefined;
}

/** Fields of an answer that hold its thought. */
export const THOUGHTS = ['reasoning_content', 'reasoning', 'thinking', 'thought'];

/** The thought beside an answer; undefined for none. @throws BadRecord where two of them differ */
export function readThought(message: Record<string, unknown>, name: string, remarks: Remark[]): string | undefined {
  let found: string | undefined;
  for (const field of THOUGHTS) {
    const value = Object.hasOwn(message, field) ? message[field] : undefined;
    if (value === undefined || value === null || value === '') continue;
    const text = readText(value, `${name}.${field}`, remarks);
    if (!/\S/.test(text) || text === found) continue;
    if (found !== undefined) throw new BadRecord('wrong-type', `${name} has two thoughts that differ`);
    found = text;
  }
  return found;
}

/** What a tool gave: a text, or any other JSON as its text. */
export function readResult(value: unknown, name: string, remarks: Remark[]): string {
  if (!isObject(value) && !Array.isArray(value)) return readText(value ?? '', name, remarks);
  remarks.push({ kind: 'converted', reason: `${name} is ${kindOf(value)} and was taken as its JSON` });
  return readText(pythonJson(plainJson(value)), name, remarks);
}
