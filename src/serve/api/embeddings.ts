import { isUtf8 } from 'node:buffer';
import { UsageError } from '../../base/errors.js';
import type { EmbeddingInput, TokenRequest } from '../../llama/reading.js';
import {
  Detokenized,
  DetokenizeInput,
  Embeddings,
  EmbeddingsInput,
  Tokenized,
  TokenizeInput,
} from '../contract/embeddings.js';
import { routesOf } from '../http/route.js';
import type { Services } from '../Services.js';
import { asSpeaker, findSpeaker, type Speaker } from '../speakers.js';
import { BODY_LIMIT } from './openaiOutput.js';

const route = routesOf<Services>();

/** What a model makes of texts without answering. */
export const embeddingRoutes = [
  route({
    method: 'POST',
    path: '/v1/embeddings',
    keys: 'chat',
    summary:
      'Vectors of length 1 that are near where texts are alike: means of the hidden states of a model, adapters on.',
    body: EmbeddingsInput,
    bodyLimit: BODY_LIMIT,
    response: Embeddings,
    errors: 'openai',
    async handler({ body, key, signal }, services) {
      const speaker = await findSpeaker(services, body, key);
      const inputs = inputsOf(body.input);
      const { vectors, tokens } = await asSpeaker(services, speaker, (who, readAdapter) =>
        services.inference.embed({ ...who, inputs }, readAdapter, signal),
      );
      const width = vectors[0]!.length;
      if (typeof body.dimensions === 'number' && body.dimensions !== width) {
        throw new UsageError({
          found: `"dimensions" of ${body.dimensions}`,
          expected: `${width}, which this model has: a part of its values would mean nothing`,
          fix: 'leave it out',
        });
      }
      const encode = (vector: Float32Array) =>
        body.encoding_format === 'base64'
          ? Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString('base64')
          : [...vector];
      return {
        object: 'list' as const,
        model: speaker.id,
        data: vectors.map((vector, index) => ({ object: 'embedding' as const, index, embedding: encode(vector) })),
        usage: { prompt_tokens: tokens, total_tokens: tokens },
      };
    },
  }),
  route({
    method: 'POST',
    path: '/tokenize',
    keys: 'chat',
    summary: 'The tokens of a text, as the server of llama.cpp tells them.',
    body: TokenizeInput,
    bodyLimit: BODY_LIMIT,
    response: Tokenized,
    errors: 'openai',
    async handler({ body, key, signal }, services) {
      const speaker = await findSpeaker(services, { model: body.model }, key);
      const request = { text: body.content, special: body.parse_special ?? true, bos: body.add_special ?? false };
      const pieces = await tokensOf(services, speaker, request, signal);
      if (!body.with_pieces) return { tokens: pieces.map(({ id }) => id) };
      return {
        tokens: pieces.map(({ id, bytes }) => ({
          id,
          piece: isUtf8(bytes) ? Buffer.from(bytes).toString('utf8') : [...bytes],
        })),
      };
    },
  }),
  route({
    method: 'POST',
    path: '/detokenize',
    keys: 'chat',
    summary: 'The text of tokens, as the server of llama.cpp tells it.',
    body: DetokenizeInput,
    bodyLimit: BODY_LIMIT,
    response: Detokenized,
    errors: 'openai',
    async handler({ body, key, signal }, services) {
      const speaker = await findSpeaker(services, { model: body.model }, key);
      const pieces = await tokensOf(services, speaker, { tokens: body.tokens }, signal);
      return { content: Buffer.concat(pieces.map(({ bytes }) => bytes)).toString('utf8') };
    },
  }),
];

function tokensOf(services: Services, speaker: Speaker, request: TokenRequest, signal: AbortSignal) {
  return asSpeaker(services, speaker, ({ model }) => services.inference.tokens({ model, request }, signal));
}

function inputsOf(input: string | string[] | number[] | number[][]): EmbeddingInput {
  if (typeof input === 'string') return [input];
  return typeof input[0] === 'number' ? [input as number[]] : (input as string[] | number[][]);
}
