import Type, { type Static, type TSchema } from 'typebox';
import { Text } from './common.js';

/** The part of OpenAI's API that is served: model list, chat completions, completions. Names and shapes are that API's. */

export const Nullable = <T extends TSchema>(schema: T) => Type.Optional(Type.Union([schema, Type.Null()]));
const Count = Type.Integer({ minimum: 0 });

/** Several adapters at once, each with its correction multiplied by its strength. */
const Adapters = Type.Array(
  Type.Object(
    { name: Type.String({ maxLength: 300 }), strength: Type.Optional(Type.Number()) },
    { additionalProperties: false },
  ),
);

/** Who answers. */
export const Voice = {
  model: Nullable(
    Type.String({
      maxLength: 300,
      description:
        'A base model, an adapter (NAME, NAME@2), or several with strengths (NAME:0.5+OTHER). Absent, null or "default": the newest adapter in use, or a base.',
    }),
  ),
  adapters: Nullable(Adapters),
};

/** Who answers a question. */
export const Answerer = {
  ...Voice,
  gate: Nullable(
    Type.Boolean({
      description:
        'Leave out adapters that learnt to answer questions of another kind; "model" of the answer names who is left.',
    }),
  ),
};

/** Fields that are honoured. Others that would change the answer are refused by name; the rest changes nothing. */
const common = {
  ...Answerer,
  stream: Nullable(Type.Boolean()),
  stream_options: Nullable(Type.Object({ include_usage: Type.Optional(Type.Boolean()) })),
  temperature: Nullable(Type.Number({ minimum: 0, maximum: 5 })),
  top_p: Nullable(Type.Number({ minimum: 0, maximum: 1 })),
  top_k: Nullable(Type.Integer()),
  min_p: Nullable(Type.Number({ minimum: 0, maximum: 1 })),
  frequency_penalty: Nullable(Type.Number({ minimum: -2, maximum: 2 })),
  presence_penalty: Nullable(Type.Number({ minimum: -2, maximum: 2 })),
  repeat_penalty: Nullable(Type.Number({ minimum: 1, maximum: 2 })),
  repetition_penalty: Nullable(Type.Number({ minimum: 1, maximum: 2 })),
  seed: Nullable(Type.Integer()),
  stop: Nullable(Type.Union([Text, Type.Array(Text, { maxItems: 16 })])),
  max_tokens: Nullable(Type.Integer({ description: 'Below 1: no limit.' })),
};

const Part = Type.Object({ type: Type.String(), text: Type.Optional(Text) });

export const ChatCompletionInput = Type.Object({
  ...common,
  messages: Type.Array(
    Type.Object({
      role: Type.Enum(['system', 'developer', 'user', 'assistant', 'tool', 'function']),
      content: Nullable(Type.Union([Text, Type.Array(Part, { maxItems: 1000 })])),
      tool_calls: Type.Optional(Type.Unknown()),
      function_call: Type.Optional(Type.Unknown()),
    }),
    { minItems: 1, maxItems: 10_000 },
  ),
  max_completion_tokens: Nullable(Type.Integer({ description: 'Below 1: no limit.' })),
  enable_thinking: Nullable(
    Type.Boolean({ description: 'Whether a thought comes before the answer, if the model has thoughts.' }),
  ),
  chat_template_kwargs: Nullable(Type.Object({ enable_thinking: Type.Optional(Type.Boolean()) })),
});

export const CompletionInput = Type.Object({
  ...common,
  prompt: Type.Union([Text, Type.Array(Text, { minItems: 1, maxItems: 1 })]),
  echo: Nullable(Type.Boolean()),
});

export const OpenAiModel = Type.Object({
  id: Type.String(),
  object: Type.Literal('model'),
  created: Type.Integer({ description: 'Seconds since 1970.' }),
  owned_by: Type.String(),
});

export const OpenAiModelList = Type.Object({ object: Type.Literal('list'), data: Type.Array(OpenAiModel) });

export const Usage = Type.Object({ prompt_tokens: Count, completion_tokens: Count, total_tokens: Count });
export type Usage = Static<typeof Usage>;

const FinishReason = Type.Enum(['stop', 'length']);
const Finish = Type.Union([FinishReason, Type.Null()]);
const head = { id: Type.String(), created: Type.Integer(), model: Type.String() };
const choice = { index: Type.Integer(), logprobs: Type.Null() };

export const ChatCompletion = Type.Object({
  ...head,
  object: Type.Literal('chat.completion'),
  choices: Type.Array(
    Type.Object({
      ...choice,
      message: Type.Object({ role: Type.Literal('assistant'), content: Type.String(), refusal: Type.Null() }),
      finish_reason: FinishReason,
    }),
  ),
  usage: Usage,
});

/** The one with the usage has no choice. */
export const ChatCompletionChunk = Type.Object({
  ...head,
  object: Type.Literal('chat.completion.chunk'),
  choices: Type.Array(
    Type.Object({
      ...choice,
      delta: Type.Object({
        role: Type.Optional(Type.Literal('assistant')),
        content: Type.Optional(Type.String()),
        refusal: Type.Optional(Type.Null()),
      }),
      finish_reason: Finish,
    }),
  ),
  usage: Type.Optional(Usage),
});

/** Whole, or a chunk of one, which has no finish reason before its last. */
export const Completion = Type.Object({
  ...head,
  object: Type.Literal('text_completion'),
  choices: Type.Array(Type.Object({ ...choice, text: Type.String(), finish_reason: Finish })),
  usage: Type.Optional(Usage),
});

export const OpenAiErrorBody = Type.Object({
  error: Type.Object({
    message: Type.String(),
    type: Type.Enum(['authentication_error', 'permission_error', 'server_error', 'invalid_request_error']),
    param: Type.Union([Type.String(), Type.Null()]),
    code: Type.Union([Type.String(), Type.Null()]),
  }),
});
export type OpenAiErrorBody = Static<typeof OpenAiErrorBody>;
