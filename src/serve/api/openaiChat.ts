import type { Static } from 'typebox';
import type { TokenLikelihood } from '../../llama/likelihood.js';
import {
  addUsage,
  answering,
  gather,
  type Piece,
  type TokenCount,
  type WholeAnswer,
  type WholeCall,
} from '../answering.js';
import { ChatCompletion, ChatCompletionChunk, ChatCompletionInput } from '../contract/openai.js';
import type { ServerEvent } from '../http/events.js';
import { Answer, routesOf } from '../http/route.js';
import type { Services } from '../Services.js';
import { findSuited } from '../speakers.js';
import { begun } from './chat.js';
import { chatRequestOf } from './openaiInput.js';
import { BODY_LIMIT, chatLogprobs, finishOf, headOf, usageOf } from './openaiOutput.js';

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
    const wantsLikelihoods = request.options?.show?.likeliest !== undefined;
    const choices = answers.map((answer, index) => ({
      index,
      message: messageOf(answer),
      logprobs: wantsLikelihoods ? chatLogprobs(answer.likelihoods) : null,
      finish_reason: finishOf(answer.reason),
    }));
    return { ...head, object: 'chat.completion' as const, choices, usage: usageOf(usage) };
  },
});

function messageOf({ text, thought, calls }: WholeAnswer) {
  return {
    role: 'assistant' as const,
    content: text === '' && calls.length > 0 ? null : text,
    refusal: null,
    ...(thought !== '' && { reasoning_content: thought }),
    ...(calls.length > 0 && { tool_calls: calls.map(callOf) }),
  };
}

function callOf({ call: { id, name }, text }: WholeCall) {
  return { id, type: 'function' as const, function: { name, arguments: text } };
}

type Chunk = Static<typeof ChatCompletionChunk>;
type Choice = Chunk['choices'][number];
type Head = ReturnType<typeof headOf>;

async function* streamed(
  pieces: AsyncIterable<Piece>,
  head: Head,
  wantsUsage: boolean,
): AsyncGenerator<ServerEvent<Chunk>> {
  const chunk = (
    index: number,
    delta: Choice['delta'],
    { finish = null, likelihoods }: { finish?: Choice['finish_reason']; likelihoods?: TokenLikelihood[] } = {},
  ) => ({
    data: {
      ...head,
      object: 'chat.completion.chunk' as const,
      choices: [{ index, delta, logprobs: likelihoods ? chatLogprobs(likelihoods) : null, finish_reason: finish }],
    },
  });
  const begun = new Set<number>();
  let usage: TokenCount = { prompt: 0, answer: 0 };
  for await (const piece of pieces) {
    const { answer } = piece;
    if (!begun.has(answer)) yield chunk(answer, { role: 'assistant', content: '', refusal: null });
    begun.add(answer);
    if (piece.type === 'text') yield chunk(answer, { content: piece.text }, { likelihoods: piece.likelihoods });
    if (piece.type === 'thought') yield chunk(answer, { reasoning_content: piece.text });
    if (piece.type === 'callBegin') {
      const { id, name, number } = piece;
      yield chunk(answer, { tool_calls: [{ index: number, id, type: 'function', function: { name, arguments: '' } }] });
    }
    if (piece.type === 'callText') {
      yield chunk(answer, { tool_calls: [{ index: piece.number, function: { arguments: piece.text } }] });
    }
    if (piece.type !== 'end') continue;
    yield chunk(answer, {}, { finish: finishOf(piece.reason) });
    usage = addUsage(usage, piece.usage);
  }
  if (wantsUsage) yield { data: { ...head, object: 'chat.completion.chunk', choices: [], usage: usageOf(usage) } };
}
