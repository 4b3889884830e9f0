import type { Static } from 'typebox';
import { UsageError } from '../../base/errors.js';
import type { CountTokensInput, MessagesInput } from '../contract/anthropic.js';
import { anything, type Neutral, refuseOthers, unserved } from './fields.js';
import type { ChatInput } from './openaiInput.js';
import { type Translated, wrongPart } from './otherInput.js';

/** Requests of Anthropic's API as those of OpenAI's chat. */

type Input = Static<typeof CountTokensInput> & Partial<Static<typeof MessagesInput>>;
type Message = ChatInput['messages'][number];
type Block = { type: string } & Record<string, unknown>;

const FIELDS =
  `model adapters gate messages system tools tool_choice thinking output_config max_tokens stop_sequences stream
  temperature top_p top_k`.split(/\s+/);
const NEUTRAL: Neutral = {
  metadata: anything,
  user_profile_id: anything,
  workspace_id: anything,
  speed: (value) => value === 'standard',
  cache_control: anything,
  service_tier: (value) => value === 'auto' || value === 'standard_only',
  betas: (value) => Array.isArray(value) && value.length === 0,
  mcp_servers: (value) => Array.isArray(value) && value.length === 0,
};
/** Where a prompt may be cached, and what a text was quoted from. */
const BLOCK_NEUTRAL: Neutral = { cache_control: anything, citations: anything };
const TOOL_NEUTRAL: Neutral = {
  cache_control: anything,
  strict: anything,
  eager_input_streaming: anything,
  type: (value) => value === 'custom',
  defer_loading: (value) => value === false,
  allowed_callers: (value) => Array.isArray(value) && value.every((one) => one === 'direct'),
  input_examples: (value) => Array.isArray(value) && value.length === 0,
};

/** @throws UsageError that names what is not served */
export function translate(body: Input): Translated {
  refuseOthers(body, { known: FIELDS, neutral: NEUTRAL });
  const { model, adapters, tool_choice: choice, thinking, output_config: output } = body;
  if (output) refuseOthers(output, { known: ['format'], where: 'output_config' });
  const system = body.system ? textOf(body.system, 'system') : '';
  const turns = body.messages.flatMap(({ role, content }, i) =>
    turnsOf[role](content, `messages[${i}]`).map((turn) => ({ turn, place: `messages[${i}]` })),
  );
  if (system !== '') turns.unshift({ turn: { role: 'system', content: system }, place: 'system' });
  const input: ChatInput = {
    model,
    adapters,
    messages: turns.map(({ turn }) => turn),
    max_tokens: body.max_tokens,
    temperature: body.temperature,
    top_p: body.top_p,
    top_k: body.top_k,
    stop: body.stop_sequences,
    ...(body.tools && body.tools.length > 0 && { tools: body.tools.map(toolOf) }),
    ...(choice && { tool_choice: choiceOf(choice) }),
    ...(choice?.disable_parallel_tool_use && { parallel_tool_calls: false }),
    ...(thinking && { enable_thinking: thinking.type !== 'disabled' }),
    ...(output?.format && { response_format: formatOf(output.format) }),
  };
  return { input, places: turns.map(({ place }) => place), names: NAMES };
}

const NAMES: Translated['names'] = [
  [/^response_format\.json_schema/, 'output_config.format'],
  [/^response_format/, 'output_config.format'],
  [/\.function\.parameters/, '.input_schema'],
  [/\.tool_calls\[\d+\]\.function\.arguments/, ' (tool_use).input'],
];

function formatOf({ type, schema, ...rest }: Record<string, unknown>) {
  refuseOthers(rest, { known: [], where: 'output_config.format' });
  if (type === 'json_schema') return { type, json_schema: { name: 'answer', schema } };
  throw unserved(`a format of type ${JSON.stringify(type)?.slice(0, 40)}`, 'output_config.format', 'use json_schema');
}

function toolOf(tool: NonNullable<Input['tools']>[number], i: number) {
  const { name, description, input_schema: parameters } = tool;
  const where = `tools[${i}]`;
  if (tool.type && tool.type !== 'custom') {
    throw unserved(`a tool of type "${tool.type.slice(0, 40)}"`, where, 'use tools of your own, with an input_schema');
  }
  if (!parameters) throw unserved(`the tool "${name.slice(0, 60)}" without an input_schema`, where, 'add it');
  refuseOthers(tool, { known: ['name', 'description', 'input_schema'], neutral: TOOL_NEUTRAL, where });
  return { type: 'function', function: { name, ...(description !== undefined && { description }), parameters } };
}

function choiceOf({ type, name }: NonNullable<Input['tool_choice']>) {
  if (type !== 'tool') return ({ auto: 'auto', any: 'required', none: 'none' } as const)[type];
  if (name === undefined) throw new UsageError({ found: 'no name of the tool', where: 'tool_choice', fix: 'add it' });
  return { type: 'function', function: { name } };
}

function blocksOf(content: string | Block[]): Block[] {
  return typeof content === 'string' ? [{ type: 'text', text: content }] : content;
}

/** Texts alone. */
function textOf(content: string | Block[], where: string): string {
  return blocksOf(content)
    .map((block, i) => blockText(block, `${where}[${i}]`))
    .join('');
}

function blockText(block: Block, where: string): string {
  if (block.type !== 'text' || typeof block.text !== 'string') throw wrongPart(block.type, where);
  refuseOthers(block, { known: ['type', 'text'], neutral: BLOCK_NEUTRAL, where });
  return block.text;
}

const turnsOf = {
  user: userTurns,
  assistant: assistantTurn,
  system: (content: string | Block[], where: string): Message[] => [
    { role: 'system', content: textOf(content, where) },
  ],
};

/** Results of tools are turns of their own. */
function userTurns(content: string | Block[], where: string): Message[] {
  const turns: Message[] = [];
  for (const [i, block] of blocksOf(content).entries()) {
    const place = `${where}.content[${i}]`;
    if (block.type === 'tool_result' && typeof block.tool_use_id === 'string') {
      refuseOthers(block, {
        known: ['type', 'tool_use_id', 'content', 'is_error'],
        neutral: BLOCK_NEUTRAL,
        where: place,
      });
      const given = (block.content ?? '') as string | Block[];
      const text = textOf(given, place);
      turns.push({
        role: 'tool',
        tool_call_id: block.tool_use_id,
        content: block.is_error === true ? `Error: ${text}` : text,
      } as Message);
      continue;
    }
    const text = blockText(block, place);
    const last = turns.at(-1);
    if (last?.role === 'user') last.content += text;
    else turns.push({ role: 'user', content: text });
  }
  return turns.length > 0 ? turns : [{ role: 'user', content: '' }];
}

function assistantTurn(content: string | Block[], where: string): Message[] {
  let text = '';
  let thought = '';
  const calls: object[] = [];
  for (const [i, block] of blocksOf(content).entries()) {
    const place = `${where}.content[${i}]`;
    if (block.type === 'thinking' && typeof block.thinking === 'string') thought += block.thinking;
    else if (block.type === 'tool_use' && typeof block.name === 'string' && typeof block.id === 'string') {
      refuseOthers(block, {
        known: ['type', 'id', 'name', 'input'],
        neutral: { ...BLOCK_NEUTRAL, caller: anything },
        where: place,
      });
      const call = { name: block.name, arguments: JSON.stringify(block.input ?? {}) };
      calls.push({ id: block.id, type: 'function', function: call });
    } else text += blockText(block, place);
  }
  return [
    {
      role: 'assistant',
      content: text,
      ...(thought !== '' && { reasoning_content: thought }),
      ...(calls.length > 0 && { tool_calls: calls }),
    },
  ];
}
