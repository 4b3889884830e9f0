import type { Static } from 'typebox';
import { addUsage, answering, gather, type Piece, type TokenCount } from '../answering.js';
import { ChatCompletion, ChatCompletionChunk, ChatCompletionInput } from '../contract/openai.js';
import type { ServerEvent } from '../http/events.js';
import { Answer, routesOf } from '../http/route.js';
import type { Services } from '../Services.js';
import { findSuited } from '../speakers.js';
import { begun } from './chat.js';
import { chatRequestOf } from './openaiInput.js';
import { BODY_LIMIT, finishOf, headOf, usageOf } from './openaiOutput.js';

const route = routesOf<Services>();

export const chatCompletionsRoute = route({
  method: 'POST',
  path: '/v1/chat/completions',
  keys: 'chat',
  summary: 'An answer to a conversation, whole or streamed.',
  body: ChatCompletionInput,
  bodyLimit: BODY_LIMIT,
  response: { json: ChatCompletion, events: ChatCompletionChunk },
  errors: 'openai',
  async handler({ body, key, signal }, services) {
    const request = chatRequestOf(body);
    const speaker = await findSuited(services, body, key, request, signal);
    const pieces = answering(services, speaker, request, signal);
    const head = headOf('chatcmpl', speaker.id);
    if (body.stream) {
      const wantsUsage = body.stream_options?.include_usage === true;
      return Answer.events(await begun(streamed(pieces, head, wantsUsage)), 'openai');
    }
    const { answers, usage } = await gather(pieces);
    const choices = answers.map(({ text, reason }, index) => ({
      index,
      message: { role: 'assistant' as const, content: text, refusal: null },
      logprobs: null,
      finish_reason: finishOf(reason),
    }));
    return { ...head, object: 'chat.completion' as const, choices, usage: usageOf(usage) };
  },
});

type Chunk = Static<typeof ChatCompletionChunk>;
type Head = ReturnType<typeof headOf>;

async function* streamed(
  pieces: AsyncIterable<Piece>,
  head: Head,
  wantsUsage: boolean,
): AsyncGenerator<ServerEvent<Chunk>> {
  const chunk = (index: number, delta: Chunk['choices'][0]['delta'], finish: Chunk['choices'][0]['finish_reason']) => ({
    data: {
      ...head,
      object: 'chat.completion.chunk' as const,
      choices: [{ index, delta, logprobs: null, finish_reason: finish }],
    },
  });
  const begun = new Set<number>();
  let usage: TokenCount = { prompt: 0, answer: 0 };
  for await (const piece of pieces) {
    const { answer } = piece;
    if (!begun.has(answer)) yield chunk(answer, { role: 'assistant', content: '', refusal: null }, null);
    begun.add(answer);
    if (piece.type === 'text') yield chunk(answer, { content: piece.text }, null);
    if (piece.type !== 'end') continue;
    yield chunk(answer, {}, finishOf(piece.reason));
    usage = addUsage(usage, piece.usage);
  }
  if (wantsUsage) yield { data: { ...head, object: 'chat.completion.chunk', choices: [], usage: usageOf(usage) } };
}
