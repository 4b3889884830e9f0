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
  n: Nullable(Type.Integer({ minimum: 1, maximum: 16, description: 'Answers, each drawn by itself.' })),
  logit_bias: Nullable(
    Type.Record(Type.String({ pattern: '^[0-9]{1,7}$' }), Type.Number({ minimum: -100, maximum: 100 }), {
      additionalProperties: false,
      description: 'By the ids of tokens.',
    }),
  ),
  max_tokens: Nullable(Type.Integer({ description: 'Below 1: no limit.' })),
};

const Part = Type.Object({ type: Type.String(), text: Type.Optional(Text), refusal: Type.Optional(Text) });

const ToolCallInput = Type.Object({
  id: Nullable(Type.String({ maxLength: 200 })),
  type: Nullable(Type.String({ maxLength: 40 })),
  function: Type.Optional(Type.Object({ name: Type.String({ maxLength: 200 }), arguments: Nullable(Text) })),
});
const ToolInput = Type.Object({
  type: Type.String({ maxLength: 40 }),
  function: Type.Optional(
    Type.Object({
      name: Type.String({ maxLength: 200 }),
      description: Nullable(Text),
      parameters: Nullable(Type.Unknown({ description: 'A JSON schema of an object.' })),
      strict: Nullable(Type.Boolean()),
    }),
  ),
});
const ResponseFormat = Type.Object({
  type: Type.String({ maxLength: 40, description: 'text, json_object or json_schema.' }),
  json_schema: Nullable(
    Type.Object({
      name: Type.Optional(Type.String()),
      description: Nullable(Type.String()),
      schema: Type.Optional(
        Type.Unknown({ description: 'A JSON schema; what of it is not served is refused by name.' }),
      ),
      strict: Nullable(Type.Boolean({ description: 'Answers are valid under the schema either way.' })),
    }),
  ),
});

export const ChatCompletionInput = Type.Object({
  ...common,
  messages: Type.Array(
    Type.Object({
      role: Type.Enum(['system', 'developer', 'user', 'assistant', 'tool', 'function']),
      content: Nullable(Type.Union([Text, Type.Array(Part, { maxItems: 1000 })])),
      name: Nullable(Type.String({ maxLength: 200 })),
      reasoning_content: Nullable(Text),
      tool_calls: Nullable(Type.Array(ToolCallInput, { maxItems: 128 })),
      tool_call_id: Nullable(Type.String({ maxLength: 200 })),
      function_call: Type.Optional(Type.Unknown()),
    }),
    { minItems: 1, maxItems: 10_000 },
  ),
  max_completion_tokens: Nullable(Type.Integer({ description: 'Below 1: no limit.' })),
  enable_thinking: Nullable(
    Type.Boolean({ description: 'Whether a thought comes before the answer, if the model has thoughts.' }),
  ),
  chat_template_kwargs: Nullable(Type.Object({ enable_thinking: Type.Optional(Type.Boolean()) })),
  reasoning_effort: Nullable(
    Type.Enum(['none', 'minimal', 'low', 'medium', 'high', 'xhigh'], {
      description: 'With none and minimal no thought comes before the answer; others ask for one, of any length.',
    }),
  ),
  logprobs: Nullable(Type.Boolean()),
  top_logprobs: Nullable(Type.Integer({ minimum: 0, maximum: 20 })),
  response_format: Nullable(ResponseFormat),
  tools: Nullable(Type.Array(ToolInput, { maxItems: 128 })),
  tool_choice: Nullable(
    Type.Union([
      Type.Enum(['none', 'auto', 'required']),
      Type.Object({
        type: Type.String({ maxLength: 40 }),
        function: Type.Optional(Type.Object({ name: Type.String({ maxLength: 200 }) })),
      }),
    ]),
  ),
  parallel_tool_calls: Nullable(Type.Boolean()),
});

const Tokens = Type.Array(Count, { minItems: 1, maxItems: 1 << 20 });

export const CompletionInput = Type.Object({
  ...common,
  prompt: Type.Union(
    [
      Text,
      Type.Array(Text, { minItems: 1, maxItems: 512 }),
      Tokens,
      Type.Array(Tokens, { minItems: 1, maxItems: 512 }),
    ],
    {
      description: 'A text or its tokens, or a list of them.',
    },
  ),
  max_tokens: Nullable(Type.Integer({ description: 'Default 16; below 0: no limit.' })),
  echo: Nullable(Type.Boolean({ description: 'The prompt comes first.' })),
  suffix: Nullable(
    Type.String({ maxLength: 1 << 20, description: 'What stands behind the text that is to be written.' }),
  ),
  logprobs: Nullable(Type.Integer({ minimum: 0, maximum: 20 })),
  best_of: Nullable(Type.Integer({ minimum: 1, maximum: 20, description: 'Draws so many and gives the n likeliest.' })),
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

const FinishReason = Type.Enum(['stop', 'length', 'tool_calls']);
const Finish = Type.Union([FinishReason, Type.Null()]);
const head = { id: Type.String(), created: Type.Integer(), model: Type.String() };

const likely = { token: Type.String(), logprob: Type.Number(), bytes: Type.Array(Type.Integer()) };
/** By the model's own probabilities, before anything that drawing does to them. */
export const ChatLogprobs = Type.Object({
  content: Type.Array(Type.Object({ ...likely, top_logprobs: Type.Array(Type.Object(likely)) })),
  refusal: Type.Null(),
});
const choice = { index: Type.Integer(), logprobs: Type.Union([ChatLogprobs, Type.Null()]) };
const call = {
  id: Type.String(),
  type: Type.Literal('function'),
  function: Type.Object({ name: Type.String(), arguments: Type.String() }),
};

export const ChatCompletion = Type.Object({
  ...head,
  object: Type.Literal('chat.completion'),
  choices: Type.Array(
    Type.Object({
      ...choice,
      message: Type.Object({
        role: Type.Literal('assistant'),
        content: Type.Union([Type.String(), Type.Null()]),
        refusal: Type.Null(),
        reasoning_content: Type.Optional(Type.String({ description: 'The thought before it.' })),
        tool_calls: Type.Optional(Type.Array(Type.Object(call))),
      }),
      finish_reason: FinishReason,
    }),
  ),
  usage: Usage,
});

/** The first of a call says whose it is, the others go on with its arguments. */
const callPiece = {
  id: Type.Optional(call.id),
  type: Type.Optional(call.type),
  function: Type.Object({ name: Type.Optional(Type.String()), arguments: Type.String() }),
};

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
        reasoning_content: Type.Optional(Type.String()),
        tool_calls: Type.Optional(Type.Array(Type.Object({ index: Type.Integer(), ...callPiece }))),
      }),
      finish_reason: Finish,
    }),
  ),
  usage: Type.Optional(Usage),
});

/** Lists of one length. A token that is no text of its own is named by its bytes. */
export const TextLogprobs = Type.Object({
  tokens: Type.Array(Type.String()),
  token_logprobs: Type.Array(Type.Union([Type.Number(), Type.Null()])),
  top_logprobs: Type.Array(Type.Union([Type.Record(Type.String(), Type.Number()), Type.Null()])),
  text_offset: Type.Array(Type.Integer()),
});

/** Whole, or a chunk of one, which has no finish reason before its last. */
export const Completion = Type.Object({
  ...head,
  object: Type.Literal('text_completion'),
  choices: Type.Array(
    Type.Object({
      index: Type.Integer(),
      logprobs: Type.Union([TextLogprobs, Type.Null()]),
      text: Type.String(),
      finish_reason: Type.Union([Type.Enum(['stop', 'length']), Type.Null()]),
    }),
  ),
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
