import { UsageError } from '../../base/errors.js';
import type { ResponseInput } from '../contract/responses.js';
import { anything, isEmpty, type Neutral, nothing, refuseOthers, unserved } from './fields.js';
import type { ChatInput } from './openaiInput.js';
import { type Translated, wrongPart } from './otherInput.js';

/** Requests of OpenAI's API of responses as those of its chat. */

type Message = ChatInput['messages'][number] & { tool_calls?: object[] };
type Item = Record<string, unknown>;

const FIELDS =
  `model adapters gate input instructions max_output_tokens temperature top_p tools tool_choice parallel_tool_calls text
  reasoning truncation stream metadata`.split(/\s+/);
const NEUTRAL: Neutral = {
  store: (value) => value === false,
  background: (value) => value === false,
  include: isEmpty,
  service_tier: (value) => value === 'auto' || value === 'default',
  stream_options: (value) =>
    isEmpty(value) || (value as { include_obfuscation?: unknown }).include_obfuscation === false,
  top_logprobs: (value) => value === 0,
  user: anything,
  safety_identifier: anything,
  prompt_cache_key: anything,
  prompt_cache_retention: anything,
  previous_response_id: nothing,
  conversation: nothing,
  prompt: nothing,
  max_tool_calls: nothing,
};

/** @throws UsageError that names what is not served */
export function translate(body: ResponseInput): Translated {
  refuseOthers(body, { known: FIELDS, neutral: NEUTRAL });
  const { text, reasoning, tools, tool_choice: choice, input } = body;
  if (text)
    refuseOthers(text, { known: ['format'], neutral: { verbosity: (value) => value === 'medium' }, where: 'text' });
  if (reasoning) refuseOthers(reasoning, { known: ['effort'], where: 'reasoning' });
  const turns =
    typeof input === 'string'
      ? [{ turn: { role: 'user', content: input } as Message, place: 'input' }]
      : turnsOf(input as Item[]);
  if (body.instructions) turns.unshift({ turn: { role: 'system', content: body.instructions }, place: 'instructions' });
  const chat: ChatInput = {
    model: body.model,
    adapters: body.adapters,
    messages: turns.map(({ turn }) => turn),
    max_completion_tokens: body.max_output_tokens,
    temperature: body.temperature,
    top_p: body.top_p,
    ...(tools && tools.length > 0 && { tools: tools.map(toolOf) }),
    ...(choice && { tool_choice: choiceOf(choice) }),
    ...(typeof body.parallel_tool_calls === 'boolean' && { parallel_tool_calls: body.parallel_tool_calls }),
    ...(reasoning?.effort && { enable_thinking: reasoning.effort !== 'none' }),
    ...(text?.format && { response_format: formatOf(text.format) }),
  };
  return { input: chat, places: turns.map(({ place }) => place), names: NAMES };
}

const NAMES: Translated['names'] = [
  [/^response_format\.json_schema/, 'text.format'],
  [/^response_format/, 'text.format'],
  [/\.function\.parameters/, '.parameters'],
  [/\.tool_calls\[\d+\]\.function\.arguments/, ' (function_call).arguments'],
];

interface Placed {
  turn: Message;
  place: string;
}

function toolOf(tool: NonNullable<ResponseInput['tools']>[number], i: number) {
  const where = `tools[${i}]`;
  const { type, name, description, parameters, strict } = tool;
  if (type !== 'function') throw unserved(`a tool of type "${type.slice(0, 40)}"`, where, 'use tools of type function');
  if (name === undefined) throw unserved('a tool without a name', where, 'add it');
  refuseOthers(tool, { known: ['type', 'name', 'description', 'parameters', 'strict'], where });
  return {
    type,
    function: {
      name,
      ...(description && { description }),
      ...(parameters && { parameters }),
      ...(strict && { strict }),
    },
  };
}

function choiceOf(choice: NonNullable<ResponseInput['tool_choice']>) {
  if (typeof choice === 'string') return choice;
  const { type, name } = choice;
  if (type === 'function' && name !== undefined) return { type, function: { name } };
  throw unserved(
    `a choice of type "${type.slice(0, 40)}"`,
    'tool_choice',
    'use auto, none, required or a function by its name',
  );
}

function formatOf(format: NonNullable<NonNullable<ResponseInput['text']>['format']>) {
  const { type, name, schema, strict } = format;
  refuseOthers(format, { known: ['type', 'name', 'schema', 'strict', 'description'], where: 'text.format' });
  if (type === 'text' || type === 'json_object') return { type };
  if (type === 'json_schema') return { type, json_schema: { name, schema, ...(strict && { strict }) } };
  throw unserved(`a format of type "${type.slice(0, 40)}"`, 'text.format', 'use text, json_object or json_schema');
}

/** Thoughts, texts and calls of an answer are items of their own; here they are one turn. */
function turnsOf(items: readonly Item[]): Placed[] {
  const turns: Placed[] = [];
  let thought = '';
  /** The answer that is being put together. */
  const answer = (place: string) => {
    const last = turns.at(-1);
    if (last?.turn.role === 'assistant' && thought === '') return last.turn;
    const begun = { role: 'assistant', content: '', ...(thought !== '' && { reasoning_content: thought }) } as Message;
    thought = '';
    turns.push({ turn: begun, place });
    return begun;
  };
  for (const [i, item] of items.entries()) {
    const where = `input[${i}]`;
    const type = item.type ?? 'message';
    const known = (...names: string[]) => refuseOthers(item, { known: ['type', 'id', 'status', ...names], where });
    if (type === 'message') {
      known('role', 'content', 'phase');
      const text = textOf(item.content, where);
      if (item.role === 'assistant') answer(where).content += text;
      else if (item.role === 'user' || item.role === 'system' || item.role === 'developer') {
        turns.push({ turn: { role: item.role, content: text }, place: where });
      } else throw new UsageError({ found: 'a message without a role', where, fix: 'add it' });
    } else if (type === 'reasoning') {
      known('summary', 'content', 'encrypted_content');
      thought += textOf(item.content ?? [], where);
    } else if (type === 'function_call' && typeof item.name === 'string' && typeof item.call_id === 'string') {
      known('call_id', 'name', 'arguments');
      const call = { name: item.name, arguments: typeof item.arguments === 'string' ? item.arguments : '{}' };
      const turn = answer(where);
      turn.tool_calls = [...(turn.tool_calls ?? []), { id: item.call_id, type: 'function', function: call }];
    } else if (type === 'function_call_output' && typeof item.call_id === 'string') {
      known('call_id', 'output');
      const turn = { role: 'tool', tool_call_id: item.call_id, content: textOf(item.output, where) } as Message;
      turns.push({ turn, place: where });
    } else
      throw unserved(
        `an item of type "${String(type).slice(0, 40)}" that is not served, or not whole`,
        where,
        'leave it out',
      );
  }
  return turns;
}

const TEXTS = ['input_text', 'output_text', 'refusal', 'reasoning_text', 'summary_text', 'text'];

function textOf(content: unknown, where: string): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) throw new UsageError({ found: 'an item without a text', where, fix: 'add it' });
  const texts = content.map((one: Item, j) => {
    const text = one?.type === 'refusal' ? one.refusal : one?.text;
    if (typeof text === 'string' && TEXTS.includes(String(one.type))) return text;
    throw wrongPart(String(one?.type), `${where}.content[${j}]`);
  });
  return texts.join('');
}
