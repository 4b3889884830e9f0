import { isDeepStrictEqual } from 'node:util';
import type { Reply } from './server.js';

/**
 * Every field of the endpoints for other programs: what it does, and how that is seen. `docs/api.md` shows the same as tables; a test sends
 * each field and holds both against what the server does.
 */

export interface Field {
  name: string;
  /** `none`: taken, and the answer is the same. */
  how: 'works' | 'none' | 'refused';
  /** For the table. */
  note: string;
  /** What is sent; other fields beside it in `beside`. */
  value: unknown;
  beside?: object;
  /** Whether an answer shows that it worked; default: it is another than the plain one. */
  shows?: (reply: Reply, plain: Reply, said: (reply: Reply) => unknown) => boolean;
}

export interface Endpoint {
  path: string;
  /** A whole request. */
  plain: Record<string, unknown>;
  /** What is compared of two answers. */
  said(reply: Reply): unknown;
  fields: readonly Field[];
}

type Shows = Field['shows'];
/** @param beside other fields that it needs */
const works = (name: string, value: unknown, note: string, shows?: Shows, beside?: object): Field => ({
  name,
  how: 'works',
  value,
  note,
  shows,
  beside,
});
const none = (name: string, value: unknown, note: string): Field => ({ name, how: 'none', value, note });
const refused = (value: unknown, note: string, ...names: string[]): Field[] =>
  names.map((name) => ({ name, how: 'refused', value, note }));

const isRefused: Shows = ({ status }) => status === 400 || status === 404;
const isSame: Shows = (reply, plain, said) => reply.status === 200 && isDeepStrictEqual(said(reply), said(plain));
const isStream: Shows = ({ headers, text }) =>
  String(headers['content-type']).startsWith('text/event-stream') && text.includes('data: ');

/** What differs between two answers that say the same. */
export function withoutHead(text: string): string {
  return text.replace(/"(id|item_id)":"[^"]*"/g, '').replace(/"created(_at)?":\d+/g, '');
}

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

const tool = { name: 'look', description: 'Looks.', parameters: { type: 'object', properties: {} } };
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
    none('store', false, 'nothing is kept: true is refused'),
    none('background', false, 'true is refused'),
    none('service_tier', 'auto', 'or `default`; others are refused'),
    none('top_logprobs', 0, 'others are refused'),
    none('include', [], 'anything in it is refused'),
    none('stream_options', { include_obfuscation: false }, 'true is refused'),
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
    'texts, or blocks: `text`, `tool_use`, `tool_result`, `thinking`; other blocks are refused by their type. The last message is the user’s',
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
  none('service_tier', 'auto', 'or `standard_only`'),
  none('speed', 'standard', '`fast` is refused'),
  none('metadata', { user_id: 'u' }, ''),
  none('user_profile_id', 'u', ''),
  none('workspace_id', 'w', ''),
  none('mcp_servers', [], 'any server is refused'),
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

export const endpoints: readonly Endpoint[] = [embeddings, tokenize, detokenize, responses, messages, countTokens];

const words = { works: 'works', none: 'no effect', refused: 'refused' };

/** The table of an endpoint, in Markdown. */
export function tableOf({ fields }: Endpoint): string {
  const rows = fields.map(({ name, how, note }) => [`\`${name}\``, words[how], note]);
  const all = [['field', '', ''], ...rows];
  const widths = [0, 1, 2].map((column) => Math.max(...all.map((row) => row[column]!.length)));
  const line = (row: readonly string[]) => `| ${row.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`;
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  return [line(all[0]!), rule, ...rows.map(line)].join('\n');
}
