import Type from 'typebox';
import { Count, Text } from './common.js';
import { Nullable, Voice } from './openai.js';

/** Embeddings as OpenAI's API has them, and tokens as llama.cpp's server does. */

const strict = { additionalProperties: false };
const Tokens = Type.Array(Count, { minItems: 1, maxItems: 1 << 20 });

export const EmbeddingsInput = Type.Object(
  {
    ...Voice,
    input: Type.Union([
      Text,
      Type.Array(Text, { minItems: 1, maxItems: 2048 }),
      Tokens,
      Type.Array(Tokens, { minItems: 1, maxItems: 2048 }),
    ]),
    encoding_format: Nullable(Type.Enum(['float', 'base64'])),
    dimensions: Nullable(
      Type.Integer({ description: 'As many as the model has, or none: a part of them means nothing.' }),
    ),
    user: Nullable(Type.String()),
  },
  strict,
);

export const Embeddings = Type.Object({
  object: Type.Literal('list'),
  model: Type.String(),
  data: Type.Array(
    Type.Object({
      object: Type.Literal('embedding'),
      index: Count,
      embedding: Type.Union([
        Type.Array(Type.Number()),
        Type.String({ description: 'Values of 32 bits, the lowest byte first, in base64.' }),
      ]),
    }),
  ),
  usage: Type.Object({ prompt_tokens: Count, total_tokens: Count }),
});

export const TokenizeInput = Type.Object(
  {
    model: Voice.model,
    content: Text,
    add_special: Nullable(
      Type.Boolean({ description: 'With the token that begins a text, if the model has one; default false.' }),
    ),
    parse_special: Nullable(Type.Boolean({ description: 'Names of control tokens are those tokens; default true.' })),
    with_pieces: Nullable(Type.Boolean()),
  },
  strict,
);

const Piece = Type.Object({
  id: Count,
  piece: Type.Union([Type.String(), Type.Array(Count, { description: 'Bytes of what is no whole character.' })]),
});

export const Tokenized = Type.Object({ tokens: Type.Union([Type.Array(Count), Type.Array(Piece)]) });

export const DetokenizeInput = Type.Object(
  { model: Voice.model, tokens: Type.Array(Count, { maxItems: 1 << 20 }) },
  strict,
);

export const Detokenized = Type.Object({ content: Type.String() });
