import type { Static } from 'typebox';
import { UsageError } from '../../base/errors.js';
import type { Sampling } from '../../llama/ChatSession.js';
import type { ChatMessage } from '../../model/chatTemplate.js';
import type { AnswerRequest } from '../answering.js';
import type { ChatCompletionInput, CompletionInput } from '../contract/openai.js';

/** What a request in OpenAI's form asks for: each of its fields is honoured, changes nothing, or is refused by its name. */

export type ChatInput = Static<typeof ChatCompletionInput>;
type TextInput = Static<typeof CompletionInput>;

/** Fields that are not served, and the values of them that change nothing. */
const NEUTRAL: Record<string, (value: unknown) => boolean> = {
  n: (value) => value === 1,
  best_of: (value) => value === 1,
  suffix: (value) => value === '',
  logprobs: (value) => value === false || value === 0,
  top_logprobs: (value) => value === 0,
  logit_bias: isEmpty,
  tools: isEmpty,
  functions: isEmpty,
  tool_choice: (value) => value === 'none' || value === 'auto',
  function_call: (value) => value === 'none' || value === 'auto',
  response_format: (value) => (value as { type?: unknown }).type === 'text',
  modalities: (value) => Array.isArray(value) && value.length === 1 && value[0] === 'text',
  audio: () => false,
  prediction: () => false,
  web_search_options: () => false,
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
};

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

/** @throws UsageError that names a field without which the answer would be another */
export function refuseUnserved(body: Record<string, unknown>): void {
  for (const [name, isNeutral] of Object.entries(NEUTRAL)) {
    const value = body[name];
    if (value === undefined || value === null || isNeutral(value)) continue;
    throw new UsageError({ found: `"${name}" is not served`, fix: 'leave it out' });
  }
}

/**
 * What an answer to a conversation is made from. The other APIs for conversations put their fields into those of this one first, so that a
 * field works in all of them or in none.
 * @throws UsageError that names what is not served
 */
export function chatRequestOf(body: ChatInput): AnswerRequest {
  refuseUnserved(body);
  return {
    prompt: conversationOf(body),
    sampling: samplingOf(body, body.max_completion_tokens ?? body.max_tokens),
    options: { stop: stopsOf(body), forget: false, thinking: thinkingOf(body) },
  };
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
    // Below 1 stands for no limit.
    maxTokens: typeof maxTokens === 'number' && maxTokens >= 1 ? Math.min(maxTokens, MOST_TOKENS) : MOST_TOKENS,
  };
}

const MOST_TOKENS = 100_000;

export function stopsOf({ stop }: ChatInput | TextInput): readonly string[] {
  return stop === null || stop === undefined ? [] : typeof stop === 'string' ? [stop] : stop;
}

/** Whether a thought is asked for; undefined if the client does not say. */
function thinkingOf({ enable_thinking, chat_template_kwargs }: ChatInput): boolean | undefined {
  return chat_template_kwargs?.enable_thinking ?? enable_thinking ?? undefined;
}

/**
 * The conversation as a template takes it: messages in a row of one role are joined, as they are when data are read, and system messages
 * stand first.
 * @throws UsageError that names the message that cannot be used
 */
function conversationOf({ messages }: ChatInput): ChatMessage[] {
  const turns: ChatMessage[] = [];
  const system: string[] = [];
  for (const [i, message] of messages.entries()) {
    const text = textOf(message, `messages[${i}]`);
    if (message.role === 'system' || message.role === 'developer') {
      system.push(text);
      continue;
    }
    const { role } = message as { role: 'user' | 'assistant' };
    const last = turns.at(-1);
    if (last?.role === role) last.content += `\n${text}`;
    else turns.push({ role, content: text });
  }
  if (turns.length === 0) throw new UsageError({ found: 'there is no message of the user', where: 'messages' });
  if (turns.at(-1)!.role === 'assistant') {
    throw new UsageError({ found: "the last message is the assistant's, expected the user's" });
  }
  return system.length === 0 ? turns : [{ role: 'system', content: system.join('\n') }, ...turns];
}

type Message = ChatInput['messages'][number];

function textOf({ role, content, tool_calls, function_call }: Message, place: string): string {
  const refuse = (found: string, fix: string) => new UsageError({ found, where: place, fix });
  if (role === 'tool' || role === 'function') {
    throw refuse('the result of a tool, which is not served', 'leave out calls of tools and their results');
  }
  if ((Array.isArray(tool_calls) && tool_calls.length > 0) || (function_call !== undefined && function_call !== null)) {
    throw refuse('a call of a tool, which is not served', 'leave out calls of tools and their results');
  }
  if (content === undefined || content === null) return '';
  if (typeof content === 'string') return content;
  const texts = content.map((part) => {
    if (part.type === 'text' && part.text !== undefined) return part.text;
    throw refuse(`a part of type "${part.type.slice(0, 30)}"`, 'send texts only');
  });
  return texts.join('');
}
