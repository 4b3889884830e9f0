import Type, { type Static } from 'typebox';
import { Count, OpenRecord, Text } from './common.js';
import { Answerer, Nullable } from './openai.js';

/** OpenAI's API of responses. Names and shapes are that API's. */

/** Of all types; what an item must have is looked at by its type. */
const Item = Type.Object({ type: Nullable(Type.String({ maxLength: 100 })) });

const Tool = Type.Object({
  type: Type.String({ maxLength: 100 }),
  name: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
  description: Nullable(Text),
  parameters: Nullable(OpenRecord),
  strict: Nullable(Type.Boolean()),
});
const Format = Type.Object({
  type: Type.String({ maxLength: 100 }),
  name: Type.Optional(Type.String()),
  schema: Type.Optional(OpenRecord),
  description: Nullable(Text),
  strict: Nullable(Type.Boolean()),
});
const Choice = Type.Union([
  Type.Enum(['auto', 'none', 'required']),
  Type.Object({ type: Type.String({ maxLength: 100 }), name: Type.Optional(Type.String()) }),
]);

export const ResponseInput = Type.Object({
  ...Answerer,
  input: Type.Union([Text, Type.Array(Item, { minItems: 1, maxItems: 10_000 })]),
  instructions: Nullable(Text),
  max_output_tokens: Nullable(Type.Integer({ minimum: 1 })),
  temperature: Nullable(Type.Number({ minimum: 0, maximum: 2 })),
  top_p: Nullable(Type.Number({ minimum: 0, maximum: 1 })),
  tools: Nullable(Type.Array(Tool, { maxItems: 1000 })),
  tool_choice: Nullable(Choice),
  parallel_tool_calls: Nullable(Type.Boolean()),
  text: Nullable(Type.Object({ format: Nullable(Format), verbosity: Type.Optional(Type.Unknown()) })),
  reasoning: Nullable(
    Type.Object({
      effort: Nullable(
        Type.String({ description: '"none": no thought; anything else: a thought, if the model has thoughts.' }),
      ),
    }),
  ),
  truncation: Nullable(Type.Enum(['auto', 'disabled'])),
  stream: Nullable(Type.Boolean()),
  store: Nullable(Type.Boolean({ description: 'Nothing is kept: true is refused.' })),
  metadata: Nullable(OpenRecord),
});
export type ResponseInput = Static<typeof ResponseInput>;

const Status = Type.Enum(['in_progress', 'completed', 'incomplete']);
const OutputText = Type.Object({
  type: Type.Literal('output_text'),
  text: Type.String(),
  annotations: Type.Array(Type.Never()),
  logprobs: Type.Array(Type.Never()),
});
const ReasoningText = Type.Object({ type: Type.Literal('reasoning_text'), text: Type.String() });
const item = { id: Type.String(), status: Status };

const OutputItem = Type.Union([
  Type.Object({
    ...item,
    type: Type.Literal('reasoning'),
    summary: Type.Array(Type.Never()),
    content: Type.Array(ReasoningText),
  }),
  Type.Object({
    ...item,
    type: Type.Literal('message'),
    role: Type.Literal('assistant'),
    content: Type.Array(OutputText),
  }),
  Type.Object({
    ...item,
    type: Type.Literal('function_call'),
    call_id: Type.String(),
    name: Type.String(),
    arguments: Type.String(),
  }),
]);
export type OutputItem = Static<typeof OutputItem>;

const Usage = Type.Object({
  input_tokens: Count,
  input_tokens_details: Type.Object({ cached_tokens: Count }),
  output_tokens: Count,
  output_tokens_details: Type.Object({ reasoning_tokens: Count }),
  total_tokens: Count,
});

export const Response = Type.Object({
  id: Type.String(),
  object: Type.Literal('response'),
  created_at: Count,
  status: Status,
  background: Type.Literal(false),
  error: Type.Null(),
  incomplete_details: Type.Union([Type.Null(), Type.Object({ reason: Type.Literal('max_output_tokens') })]),
  instructions: Type.Union([Type.String(), Type.Null()]),
  max_output_tokens: Type.Union([Count, Type.Null()]),
  metadata: OpenRecord,
  model: Type.String(),
  output: Type.Array(OutputItem),
  parallel_tool_calls: Type.Boolean(),
  previous_response_id: Type.Null(),
  reasoning: Type.Object({ effort: Type.Union([Type.String(), Type.Null()]), summary: Type.Null() }),
  store: Type.Literal(false),
  temperature: Type.Number(),
  text: OpenRecord,
  tool_choice: Type.Unknown(),
  tools: Type.Array(OpenRecord),
  top_p: Type.Number(),
  truncation: Type.Enum(['auto', 'disabled']),
  usage: Type.Union([Usage, Type.Null()]),
  user: Type.Null(),
});
export type Response = Static<typeof Response>;

const numbered = { sequence_number: Count };
const within = { ...numbered, item_id: Type.String(), output_index: Count };
const part = { ...within, content_index: Count };
const of = <T extends string>(type: T) => ({ type: Type.Literal(type) });

export const ResponseEvent = Type.Union([
  Type.Object({ ...of('response.created'), ...numbered, response: Response }),
  Type.Object({ ...of('response.in_progress'), ...numbered, response: Response }),
  Type.Object({ ...of('response.output_item.added'), ...numbered, output_index: Count, item: OutputItem }),
  Type.Object({ ...of('response.content_part.added'), ...part, part: Type.Union([OutputText, ReasoningText]) }),
  Type.Object({
    ...of('response.output_text.delta'),
    ...part,
    delta: Type.String(),
    logprobs: Type.Array(Type.Never()),
  }),
  Type.Object({ ...of('response.output_text.done'), ...part, text: Type.String(), logprobs: Type.Array(Type.Never()) }),
  Type.Object({ ...of('response.reasoning_text.delta'), ...part, delta: Type.String() }),
  Type.Object({ ...of('response.reasoning_text.done'), ...part, text: Type.String() }),
  Type.Object({ ...of('response.content_part.done'), ...part, part: Type.Union([OutputText, ReasoningText]) }),
  Type.Object({ ...of('response.function_call_arguments.delta'), ...within, delta: Type.String() }),
  Type.Object({
    ...of('response.function_call_arguments.done'),
    ...within,
    name: Type.String(),
    arguments: Type.String(),
  }),
  Type.Object({ ...of('response.output_item.done'), ...numbered, output_index: Count, item: OutputItem }),
  Type.Object({ ...of('response.completed'), ...numbered, response: Response }),
  Type.Object({ ...of('response.incomplete'), ...numbered, response: Response }),
]);
export type ResponseEvent = Static<typeof ResponseEvent>;
