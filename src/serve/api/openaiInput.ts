import type { Static } from 'typebox';
import { UsageError } from '../../base/errors.js';
import type { AnswerOptions } from '../../llama/ChatSession.js';
import type { Sampling } from '../../llama/sampling.js';
import type { Tool } from '../../model/message.js';
import type { ToolChoice } from '../../model/toolForms/grammar.js';
import type { AnswerRequest } from '../answering.js';
import type { ChatCompletionInput, CompletionInput } from '../contract/openai.js';
import { isEmpty, type Neutral, nothing, requireNeutral } from './fields.js';
import { conversationOf, requireShallow } from './openaiMessages.js';

/** What a request in OpenAI's form asks for: each of its fields is honoured, changes nothing, or is refused by its name. */

export type ChatInput = Static<typeof ChatCompletionInput>;
type TextInput = Static<typeof CompletionInput>;

/** Fields that are not served, and the values of them that change nothing. */
const NEUTRAL: Neutral = {
  functions: isEmpty,
  function_call: (value) => value === 'none' || value === 'auto',
  modalities: (value) => Array.isArray(value) && value.length === 1 && value[0] === 'text',
  audio: nothing,
  prediction: nothing,
  web_search_options: nothing,
  grammar: (value) => value === '',
  json_schema: isEmpty,
  mirostat: (value) => value === 0,
  typical_p: (value) => value === 1,
  tfs_z: (value) => value === 1,
  dynatemp_range: (value) => value === 0,
  xtc_probability: (value) => value === 0,
  dry_multiplier: (value) => value === 0,
  min_tokens: (value) => value === 0,
  ignore_eos: (value) => value === false,
  length_penalty: (value) => value === 1,
  use_beam_search: (value) => value === false,
  verbosity: (value) => value === 'medium',
  service_tier: (value) => value === 'auto' || value === 'default',
  guided_json: nothing,
  guided_regex: nothing,
  guided_choice: nothing,
  guided_grammar: nothing,
  structured_outputs: nothing,
  stop_token_ids: isEmpty,
  bad_words: isEmpty,
  prompt_logprobs: nothing,
  chat_template: nothing,
  documents: isEmpty,
  repeat_last_n: (value) => value === 64,
  samplers: nothing,
  n_probs: (value) => value === 0,
};

/** Fields of one of the two ways to ask, which the other does not have. */
const ONLY_CHAT: Neutral = {
  best_of: (value) => value === 1,
  suffix: (value) => value === '',
  echo: (value) => value === false,
};
const ONLY_TEXT: Neutral = {
  tools: isEmpty,
  tool_choice: (value) => value === 'none' || value === 'auto',
  response_format: (value) => (value as { type?: unknown }).type === 'text',
  top_logprobs: (value) => value === 0,
};

/** @throws UsageError that names a field without which the answer would be another */
export function refuseUnserved(body: Record<string, unknown>, way: 'chat' | 'text'): void {
  const fields = { ...NEUTRAL, ...(way === 'chat' ? ONLY_CHAT : ONLY_TEXT) };
  for (const [name, isNeutral] of Object.entries(fields)) requireNeutral(name, body[name], { isNeutral });
}

/**
 * What an answer to a conversation is made from. The other APIs for conversations put their fields into those of this one first, so that a
 * field works in all of them or in none.
 * @throws UsageError that names what is not served
 */
export function chatRequestOf(body: ChatInput): AnswerRequest {
  refuseUnserved(body, 'chat');
  const tools = toolsOf(body);
  if (typeof body.top_logprobs === 'number' && body.top_logprobs > 0 && !body.logprobs) {
    throw new UsageError({ found: '"top_logprobs" without "logprobs"', fix: 'set "logprobs" to true' });
  }
  return {
    prompt: conversationOf(body),
    sampling: samplingOf(body, atLeastOne(body.max_completion_tokens ?? body.max_tokens)),
    options: {
      stop: stopsOf(body),
      forget: false,
      thinking: thinkingOf(body),
      ...(tools && { tools, calls: choiceOf(body) }),
      ...(!tools && choiceOf(body).choice !== 'auto' && { calls: choiceOf(body) }),
      format: formatOf(body),
      ...(typeof body.max_completion_tokens === 'number' && { limit: 'max_completion_tokens' }),
      show: { thoughts: true, likeliest: body.logprobs ? (body.top_logprobs ?? 0) : undefined },
    },
    count: body.n ?? 1,
  };
}

const atLeastOne = (n: number | null | undefined) => (typeof n === 'number' && n >= 1 ? n : undefined);

function toolsOf({ tools }: ChatInput): Tool[] | undefined {
  if (!tools || tools.length === 0) return undefined;
  const names = new Set<string>();
  return tools.map(({ type, function: given }, i) => {
    const where = `tools[${i}]`;
    if (type !== 'function' || !given) {
      throw new UsageError({ found: `a tool of type "${type}" that is not served`, where, fix: 'use functions' });
    }
    const { name, description, parameters } = given;
    if (names.has(name)) throw new UsageError({ found: 'a second tool of this name', where, fix: 'rename it' });
    names.add(name);
    requireShallow(parameters, `${where}.function.parameters`);
    return {
      name,
      ...(typeof description === 'string' && { description }),
      ...(typeof parameters === 'object' && parameters !== null && { parameters: parameters as Tool['parameters'] }),
    };
  });
}

function choiceOf({ tool_choice: choice, parallel_tool_calls: several }: ChatInput): ToolChoice {
  const both = (one: ToolChoice['choice']) => ({ choice: one, several: several ?? true });
  if (choice === null || choice === undefined || typeof choice === 'string') return both(choice ?? 'auto');
  if (choice.type === 'function' && choice.function) return { choice: { name: choice.function.name }, several: false };
  const found = `a choice of type "${choice.type}" that is not served`;
  throw new UsageError({ found, where: 'tool_choice', fix: 'use auto, none, required or a function by its name' });
}

function formatOf({ response_format: format }: ChatInput): AnswerOptions['format'] {
  if (!format || format.type === 'text') return undefined;
  if (format.type === 'json_object') return 'json';
  const where = 'response_format';
  if (format.type !== 'json_schema') {
    const found = `a format of type "${format.type}" that is not served`;
    throw new UsageError({ found, where, fix: 'use text, json_object or json_schema' });
  }
  const schema = format.json_schema?.schema;
  if (typeof schema !== 'object' || schema === null) {
    throw new UsageError({ found: 'no "json_schema.schema"', where, fix: 'add it' });
  }
  const place = `${where}.json_schema.schema`;
  requireShallow(schema, place);
  return { schema, where: place };
}

/** Nothing but what is asked for: the default of each is the one of OpenAI's API, which changes no likelihoods. */
export function samplingOf(body: ChatInput | TextInput, maxTokens: number | null | undefined): Sampling {
  const penalty = body.repeat_penalty ?? body.repetition_penalty;
  return {
    temperature: body.temperature ?? 1,
    topP: body.top_p ?? 1,
    minP: body.min_p ?? 0,
    repeatPenalty: penalty ?? 1,
    ...(typeof body.top_k === 'number' && body.top_k > 0 && { topK: body.top_k }),
    ...(typeof body.frequency_penalty === 'number' && { frequencyPenalty: body.frequency_penalty }),
    ...(typeof body.presence_penalty === 'number' && { presencePenalty: body.presence_penalty }),
    // A seed of any size has one of 32 bits; below 0 stands for any.
    seed: typeof body.seed === 'number' && body.seed >= 0 ? body.seed % 2 ** 32 : undefined,
    ...(body.logit_bias && {
      logitBias: Object.entries(body.logit_bias).map(([token, bias]) => [Number(token), bias] as const),
    }),
    // Below 0 stands for no limit.
    maxTokens: typeof maxTokens === 'number' && maxTokens >= 0 ? Math.min(maxTokens, MOST_TOKENS) : MOST_TOKENS,
  };
}

const MOST_TOKENS = 100_000;

export function stopsOf({ stop }: ChatInput | TextInput): readonly string[] {
  return stop === null || stop === undefined ? [] : typeof stop === 'string' ? [stop] : stop;
}

/** Whether a thought is asked for; undefined if the client does not say. */
function thinkingOf({
  enable_thinking,
  chat_template_kwargs,
  reasoning_effort: effort,
}: ChatInput): boolean | undefined {
  const byEffort = effort ? effort !== 'none' && effort !== 'minimal' : undefined;
  return chat_template_kwargs?.enable_thinking ?? enable_thinking ?? byEffort;
}
