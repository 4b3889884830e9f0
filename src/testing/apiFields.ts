import { type Endpoint, type Field, isRefused, isSame, isStream, none, only, refused, works } from './apiTable.js';
import type { Reply } from './server.js';

/**
 * Every field of the endpoints for other programs: what it does, and how that is seen. `docs/api.md` shows the same as tables; a test sends
 * each field and holds both against what the server does.
 */

/** Of all endpoints. */
const who = [
  works(
    'model',
    'none',
    'a base model, an adapter (`NAME`, `NAME@2`), or several with strengths (`NAME:0.5+OTHER`); absent, null or `default`: the newest adapter in use, or a base model',
    ({ status }) => status === 404,
  ),
  works(
    'adapters',
    [{ name: 'nobody', strength: 0.5 }],
    'several at once: `[{name, strength}]`, strengths from -4 to 4, default 1; `model` is their base model or absent',
    ({ status }) => status === 404,
  ),
];
const gate = works(
  'gate',
  'yes',
  'true: adapters that learnt to answer questions of another kind are left out; `model` of the answer names who is left',
  isRefused,
);

const tool = { name: 'look', description: 'Looks.', parameters: { type: 'object', properties: {} } };
const hot = { temperature: 1, seed: 3 };
const anInteger = {
  type: 'json_schema',
  json_schema: { name: 'a', schema: { type: 'integer', minimum: 1, maximum: 3 } },
};
const first = ({ json }: Reply) => json.choices[0];

/** Of the two ways to ask of OpenAI's older API. */
const drawn: readonly Field[] = [
  works('max_tokens', 2, 'below 0: no limit'),
  works('temperature', 2, '0 to 5, default 1; 0 takes the likeliest token'),
  works('top_p', 0, 'default 1', isSame, { temperature: 1 }),
  works('top_k', 1, '', isSame, { temperature: 1 }),
  works('min_p', 1, 'default 0', isSame, { temperature: 1 }),
  works('frequency_penalty', 2, '-2 to 2; of the last 64 tokens', undefined, { max_tokens: 60 }),
  works('presence_penalty', 2, '-2 to 2; of the last 64 tokens', undefined, { max_tokens: 60 }),
  works('repeat_penalty', 2, '1 to 2; of the last 64 tokens', undefined, { max_tokens: 60 }),
  works('repetition_penalty', 2, 'the same by its other name', undefined, { max_tokens: 60 }),
  works('seed', 3, 'makes an answer repeatable; below 0: any', undefined, { temperature: 1 }),
  works('logit_bias', { 2: -100, 70: 100 }, 'by the ids of tokens'),
  works('stop', ['never said'], 'a text, or up to 16', isSame),
  works('n', 3, 'up to 16, each drawn by itself', ({ json }) => json.choices.length === 3, hot),
  works('stream', true, '', isStream),
  works('stream_options', { include_usage: true }, '`include_usage`', ({ text }) => text.includes('"usage":{'), {
    stream: true,
  }),
  none('user', 'u', ''),
  only('service_tier', 'auto', 'priority', 'but `auto` and `default`'),
  only('mirostat', 0, 2),
  only('typical_p', 1, 0.5),
  only('tfs_z', 1, 0.5),
  only('dynatemp_range', 0, 1),
  only('xtc_probability', 0, 0.5),
  only('dry_multiplier', 0, 1),
  only('repeat_last_n', 64, 8),
  only('min_tokens', 0, 4),
  only('ignore_eos', false, true),
  only('length_penalty', 1, 2),
  only('use_beam_search', false, true),
  only('n_probs', 0, 3),
  only('grammar', '', 'root ::= "a"'),
  only('json_schema', {}, { type: 'object' }, 'works in `response_format`'),
  ...refused(['a'], '', 'stop_token_ids', 'bad_words', 'samplers', 'prompt_logprobs'),
  ...refused({ a: 1 }, '', 'guided_json', 'guided_regex', 'guided_choice', 'guided_grammar', 'structured_outputs'),
];

const chat: Endpoint = {
  path: '/v1/chat/completions',
  plain: { model: 'tiny', messages: [{ role: 'user', content: 'the inn' }], max_tokens: 6, temperature: 0 },
  said: ({ json }) => json.choices.map(({ message }: { message: unknown }) => message),
  isOpen: true,
  fields: [
    ...who,
    gate,
    works(
      'messages',
      [
        { role: 'developer', content: 's' },
        { role: 'user', content: [{ type: 'text', text: 'a tin' }] },
        {
          role: 'assistant',
          content: null,
          tool_calls: [{ id: '1', type: 'function', function: { name: 'look', arguments: '{}' } }],
        },
        { role: 'tool', tool_call_id: '1', content: 'b' },
      ],
      'roles `system`, `developer`, `user`, `assistant`, `tool`; texts or parts of type `text`, no `content`, `reasoning_content`, `tool_calls`; a last message of the assistant is gone on with',
    ),
    works('max_completion_tokens', 2, 'goes before `max_tokens`'),
    works('logprobs', true, '', (reply) => first(reply).logprobs.content.length > 0),
    works('top_logprobs', 2, 'up to 20', (reply) => first(reply).logprobs.content[0].top_logprobs.length === 2, {
      logprobs: true,
    }),
    works(
      'response_format',
      anInteger,
      '`text`, `json_object`, `json_schema`: held to it by a grammar; beside `tools` an answer calls, or is such JSON',
      (reply) => /^[123]$/.test(first(reply).message.content),
    ),
    works(
      'tools',
      [{ type: 'function', function: tool }],
      'functions; calls are held to their schemas',
      (reply) => first(reply).finish_reason === 'tool_calls',
      {
        tool_choice: 'required',
        max_tokens: 400,
      },
    ),
    works(
      'tool_choice',
      { type: 'function', function: { name: 'look' } },
      '`auto`, `none`, `required`, or a function by its name',
      (reply) => first(reply).finish_reason === 'tool_calls',
      { tools: [{ type: 'function', function: tool }], max_tokens: 400 },
    ),
    none('parallel_tool_calls', false, 'false: one call at most; it says nothing without `tools`'),
    works(
      'enable_thinking',
      'yes',
      'whether a thought comes before the answer, where the template knows thoughts',
      isRefused,
    ),
    works('chat_template_kwargs', { enable_thinking: 'yes' }, '`enable_thinking`', isRefused),
    works(
      'reasoning_effort',
      'much',
      '`none` and `minimal`: without a thought; others: with one of any length',
      isRefused,
    ),
    ...drawn,
    only('modalities', ['text'], ['text', 'audio']),
    only('verbosity', 'medium', 'low'),
    only('function_call', 'auto', { name: 'f' }, 'use `tool_choice`'),
    only('echo', false, true, 'works in completions'),
    only('best_of', 1, 2, 'works in completions'),
    only('suffix', '', 'a', 'works in completions'),
    none('metadata', { a: 'b' }, ''),
    none('store', false, 'nothing is kept'),
    ...refused([{ name: 'f' }], 'use `tools`', 'functions'),
    ...refused({ a: 1 }, '', 'audio', 'prediction', 'web_search_options', 'chat_template', 'documents'),
  ],
};

const completions: Endpoint = {
  path: '/v1/completions',
  plain: { model: 'tiny', prompt: 'the inn', max_tokens: 6, temperature: 0 },
  said: ({ json }) => json.choices.map(({ text }: { text: string }) => text),
  isOpen: true,
  fields: [
    ...who,
    gate,
    works(
      'prompt',
      ['the inn', 'a tin'],
      'a text, a list of texts, tokens, or lists of tokens; names of control tokens are those tokens',
    ),
    works('echo', true, '', (reply) => first(reply).text.startsWith('the inn')),
    works('logprobs', 2, 'up to 20', (reply) => first(reply).logprobs.tokens.length > 0),
    works('best_of', 2, 'the likeliest `n` of so many; refused at temperature 0', ({ status }) => status === 200, hot),
    works('suffix', ' end', 'for models with tokens for it; others refuse it', isRefused),
    ...drawn,
    only('tool_choice', 'auto', 'required', 'works in chat completions'),
    only('tools', [], [{ type: 'function', function: tool }], 'works in chat completions'),
    only('top_logprobs', 0, 2, '`logprobs` is the number here'),
    only('response_format', { type: 'text' }, { type: 'json_object' }, 'works in chat completions'),
  ],
};

const embeddings: Endpoint = {
  path: '/v1/embeddings',
  plain: { model: 'tiny', input: 'the inn' },
  said: ({ json }) => json.data,
  fields: [
    ...who,
    works('input', ['the inn', 'a tin'], 'a text, a list of texts, tokens, or a list of lists of tokens'),
    works('encoding_format', 'base64', '`float` (default) or `base64`'),
    works('dimensions', 32, 'as many as the model has; a part of them means nothing and is refused', isRefused),
    none('user', 'u', ''),
    ...refused(true, 'the embeddings are the base’s or those of all adapters', 'gate'),
  ],
};

const tokenize: Endpoint = {
  path: '/tokenize',
  plain: { model: 'tiny', content: '<|im_end|>the' },
  said: ({ json }) => json.tokens,
  fields: [
    who[0]!,
    works('content', 'a tin', 'the text'),
    works('add_special', 'yes', 'the token that begins a text, if the model has one; default false', isRefused),
    works('parse_special', false, 'names of control tokens are those tokens; default true'),
    works('with_pieces', true, '`{id, piece}` for each token; a piece that is no whole character is a list of bytes'),
  ],
};

const detokenize: Endpoint = {
  path: '/detokenize',
  plain: { model: 'tiny', tokens: [70, 71] },
  said: ({ json }) => json.content,
  fields: [who[0]!, works('tokens', [72], 'their ids')],
};

const responses: Endpoint = {
  path: '/v1/responses',
  plain: { model: 'tiny', input: 'the inn', max_output_tokens: 6, temperature: 0 },
  said: ({ json }) => json.output.map(({ content }: { content: unknown }) => content),
  fields: [
    ...who,
    gate,
    works(
      'input',
      [
        { role: 'user', content: [{ type: 'input_text', text: 'a tin' }] },
        { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'b' }] },
        { role: 'user', content: 'c' },
      ],
      'a text, or items: messages (texts only), `function_call`, `function_call_output`, `reasoning`; other items are refused by their type',
    ),
    works('instructions', 'be brief', 'stands first as the system message'),
    works('max_output_tokens', 2, ''),
    works('temperature', 2, '0 to 2, default 1; 0 takes the likeliest token'),
    works('top_p', 0, 'default 1', isSame, { temperature: 1 }),
    works(
      'stream',
      true,
      'events with `sequence_number`s: `response.created`, ..., `response.completed` or `response.incomplete`',
      isStream,
    ),
    works(
      'truncation',
      'auto',
      '`disabled` (default): what does not fit is refused; `auto`: the oldest turns are left out',
      ({ json }) => json.truncation === 'auto',
    ),
    works(
      'metadata',
      { a: 'b' },
      'comes back with the answer, and is kept nowhere',
      ({ json }) => json.metadata.a === 'b',
    ),
    works(
      'text',
      { format: { type: 'xml' } },
      '`format`: `text`, `json_object`, `json_schema`; `verbosity` but `medium` is refused',
      isRefused,
    ),
    works(
      'reasoning',
      { effort: 'none' },
      '`effort`: `none` for an answer without a thought, anything else for one with, if the model has thoughts; `summary` is refused',
      ({ json }) => json.reasoning.effort === 'none',
    ),
    works('tools', [{ type: 'web_search' }], 'of type `function`; others are refused by their type', isRefused),
    works('tool_choice', { type: 'file_search' }, '`auto`, `none`, `required`, or a function by its name', isRefused, {
      tools: [{ type: 'function', ...tool }],
    }),
    works('parallel_tool_calls', false, 'false: one call at most', ({ json }) => json.parallel_tool_calls === false),
    only('store', false, true, 'but `false`: nothing is kept'),
    only('background', false, true),
    only('service_tier', 'auto', 'priority', 'but `auto` and `default`'),
    only('top_logprobs', 0, 2),
    only('include', [], ['reasoning.encrypted_content']),
    only('stream_options', { include_obfuscation: false }, { include_obfuscation: true }),
    none('user', 'u', ''),
    none('safety_identifier', 's', ''),
    none('prompt_cache_key', 'k', ''),
    none('prompt_cache_retention', '24h', ''),
    ...refused('resp_1', 'nothing is kept', 'previous_response_id', 'conversation', 'prompt'),
    ...refused(3, '', 'max_tool_calls'),
  ],
};

const prompts: readonly Field[] = [
  ...who,
  works(
    'messages',
    [
      { role: 'user', content: [{ type: 'text', text: 'a tin', cache_control: { type: 'ephemeral' } }] },
      { role: 'assistant', content: [{ type: 'text', text: 'b' }] },
      { role: 'user', content: 'c' },
    ],
    'texts, or blocks: `text`, `tool_use`, `tool_result`, `thinking`; other blocks are refused by their type; a last message of the assistant is gone on with',
  ),
  works('system', [{ type: 'text', text: 'be brief' }], 'a text or blocks of texts'),
  works(
    'tools',
    [{ type: 'web_search_20250305', name: 'web_search' }],
    'your own, with `input_schema`; others are refused by their type',
    isRefused,
  ),
  works(
    'tool_choice',
    { type: 'any', one: 1 },
    '`auto`, `any`, `none`, `tool` with its name; `disable_parallel_tool_use`',
    isRefused,
  ),
  works(
    'thinking',
    { type: 'between_tools' },
    '`disabled`: an answer without a thought; `enabled` or `adaptive`: with one, if the model has thoughts. `budget_tokens` is a wish: both end at `max_tokens`',
    isRefused,
  ),
  works('output_config', { effort: 'low' }, '`format` of type `json_schema`; `effort` is refused', isRefused),
  none('cache_control', { type: 'ephemeral' }, ''),
  only('service_tier', 'auto', 'priority', 'but `auto` and `standard_only`'),
  only('speed', 'standard', 'fast'),
  none('metadata', { user_id: 'u' }, ''),
  none('user_profile_id', 'u', ''),
  none('workspace_id', 'w', ''),
  only('mcp_servers', [], [{ name: 'm' }]),
  ...refused('x', '', 'container', 'context_management', 'diagnostics', 'inference_geo', 'output_format'),
];

const messages: Endpoint = {
  path: '/v1/messages',
  plain: { model: 'tiny', messages: [{ role: 'user', content: 'the inn' }], max_tokens: 6, temperature: 0 },
  said: ({ json }) => json.content,
  fields: [
    ...prompts,
    gate,
    works('max_tokens', 2, 'required'),
    works('stop_sequences', ['never said'], '', isSame),
    works('temperature', 1, '0 to 1, default 1; 0 takes the likeliest token'),
    works('top_p', 0, 'default 1', isSame, { temperature: 1 }),
    works('top_k', 1, '', isSame, { temperature: 1 }),
    works('stream', true, 'the events of that API, `message_start` to `message_stop`', isStream),
  ],
};

const countTokens: Endpoint = {
  path: '/v1/messages/count_tokens',
  plain: { model: 'tiny', messages: [{ role: 'user', content: 'the inn' }] },
  said: ({ json }) => json.input_tokens,
  fields: [...prompts, gate],
};

export const endpoints: readonly Endpoint[] = [
  chat,
  completions,
  embeddings,
  tokenize,
  detokenize,
  responses,
  messages,
  countTokens,
];
