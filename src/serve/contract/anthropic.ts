import Type, { type Static } from 'typebox';
import { Count, OpenRecord, Text } from './common.js';
import { Answerer, Nullable } from './openai.js';

/** Anthropic's API of messages. Names and shapes are that API's. */

const strict = { additionalProperties: false };

/** Of all types; what a block must have is looked at by its type. */
const Block = Type.Object({ type: Type.String({ maxLength: 100 }) });
const Content = Type.Union([Text, Type.Array(Block, { maxItems: 10_000 })]);

const AnthropicTool = Type.Object({
  type: Nullable(Type.String()),
  name: Type.String({ minLength: 1, maxLength: 200 }),
  description: Type.Optional(Text),
  input_schema: Type.Optional(OpenRecord),
});

/** What a prompt is made of. */
const prompt = {
  ...Answerer,
  messages: Type.Array(Type.Object({ role: Type.Enum(['user', 'assistant', 'system']), content: Content }, strict), {
    minItems: 1,
    maxItems: 10_000,
  }),
  system: Nullable(Content),
  tools: Nullable(Type.Array(AnthropicTool, { maxItems: 1000 })),
  tool_choice: Nullable(
    Type.Object(
      {
        type: Type.Enum(['auto', 'any', 'tool', 'none']),
        name: Type.Optional(Type.String()),
        disable_parallel_tool_use: Type.Optional(Type.Boolean()),
      },
      strict,
    ),
  ),
  thinking: Nullable(
    Type.Object(
      {
        type: Type.Enum(['enabled', 'disabled', 'adaptive']),
        budget_tokens: Nullable(
          Type.Integer({ description: 'A wish: thought and answer together end at max_tokens.' }),
        ),
        display: Nullable(Type.Enum(['summarized'])),
      },
      strict,
    ),
  ),
  output_config: Nullable(Type.Object({ format: Nullable(OpenRecord), effort: Type.Optional(Type.Unknown()) }, strict)),
  cache_control: Type.Optional(Type.Unknown({ description: 'Changes nothing.' })),
};

export const CountTokensInput = Type.Object(prompt);

export const MessagesInput = Type.Object({
  ...prompt,
  max_tokens: Type.Integer({ minimum: 1 }),
  stop_sequences: Nullable(Type.Array(Text, { maxItems: 16 })),
  stream: Nullable(Type.Boolean()),
  temperature: Nullable(Type.Number({ minimum: 0, maximum: 1 })),
  top_p: Nullable(Type.Number({ minimum: 0, maximum: 1 })),
  top_k: Nullable(Count),
  metadata: Type.Optional(Type.Unknown({ description: 'Changes nothing.' })),
});

export const CountTokens = Type.Object({ input_tokens: Count });

const AnswerBlock = Type.Union([
  Type.Object({ type: Type.Literal('thinking'), thinking: Type.String(), signature: Type.String() }),
  Type.Object({ type: Type.Literal('text'), text: Type.String(), citations: Type.Null() }),
  Type.Object({ type: Type.Literal('tool_use'), id: Type.String(), name: Type.String(), input: OpenRecord }),
]);
export type AnswerBlock = Static<typeof AnswerBlock>;

const Usage = Type.Object({
  input_tokens: Count,
  cache_creation_input_tokens: Count,
  cache_read_input_tokens: Count,
  output_tokens: Count,
});
const StopReason = Type.Enum(['end_turn', 'max_tokens', 'stop_sequence', 'tool_use']);
export type StopReason = Static<typeof StopReason>;
const stopped = {
  stop_reason: Type.Union([StopReason, Type.Null()]),
  stop_sequence: Type.Union([Type.String(), Type.Null()]),
};

export const Message = Type.Object({
  id: Type.String(),
  type: Type.Literal('message'),
  role: Type.Literal('assistant'),
  model: Type.String(),
  content: Type.Array(AnswerBlock),
  container: Type.Null(),
  stop_details: Type.Null(),
  ...stopped,
  usage: Usage,
});
export type Message = Static<typeof Message>;

const at = { index: Count };
const delta = <T extends string, K extends string>(type: T, key: K) =>
  Type.Object({ type: Type.Literal(type), [key]: Type.String() } as Record<'type', Type.TLiteral<T>> &
    Record<K, Type.TString>);

export const MessageEvent = Type.Union([
  Type.Object({ type: Type.Literal('message_start'), message: Message }),
  Type.Object({ type: Type.Literal('content_block_start'), ...at, content_block: AnswerBlock }),
  Type.Object({
    type: Type.Literal('content_block_delta'),
    ...at,
    delta: Type.Union([
      delta('text_delta', 'text'),
      delta('thinking_delta', 'thinking'),
      delta('input_json_delta', 'partial_json'),
    ]),
  }),
  Type.Object({ type: Type.Literal('content_block_stop'), ...at }),
  Type.Object({ type: Type.Literal('message_delta'), delta: Type.Object(stopped), usage: Usage }),
  Type.Object({ type: Type.Literal('message_stop') }),
]);
export type MessageEvent = Static<typeof MessageEvent>;

export const AnthropicErrorBody = Type.Object({
  type: Type.Literal('error'),
  error: Type.Object({
    type: Type.Enum([
      'invalid_request_error',
      'authentication_error',
      'permission_error',
      'not_found_error',
      'request_too_large',
      'rate_limit_error',
      'api_error',
      'overloaded_error',
    ]),
    message: Type.String(),
  }),
  request_id: Type.Null(),
});
export type AnthropicErrorBody = Static<typeof AnthropicErrorBody>;
