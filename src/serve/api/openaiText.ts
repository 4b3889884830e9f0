import type { Static } from 'typebox';
import { type AnswerRequest, addUsage, answering, gather, type Piece, type TokenCount } from '../answering.js';
import { Completion, CompletionInput } from '../contract/openai.js';
import type { ServerEvent } from '../http/events.js';
import { Answer, routesOf } from '../http/route.js';
import type { Services } from '../Services.js';
import { findSuited } from '../speakers.js';
import { begun } from './chat.js';
import { refuseUnserved, samplingOf, stopsOf } from './openaiInput.js';
import { BODY_LIMIT, finishOf, headOf, usageOf } from './openaiOutput.js';

const route = routesOf<Services>();

export const completionsRoute = route({
  method: 'POST',
  path: '/v1/completions',
  keys: 'chat',
  summary: 'What follows a text, whole or streamed; no chat template is put around it.',
  body: CompletionInput,
  bodyLimit: BODY_LIMIT,
  response: { json: Completion, events: Completion },
  errors: 'openai',
  async handler({ body, key, signal }, services) {
    refuseUnserved(body);
    const prompt = typeof body.prompt === 'string' ? body.prompt : body.prompt[0]!;
    const request: AnswerRequest = {
      prompt,
      sampling: samplingOf(body, body.max_tokens ?? 16),
      options: { stop: stopsOf(body) },
    };
    const speaker = await findSuited(services, body, key, request, signal);
    const pieces = answering(services, speaker, request, signal);
    const head = { ...headOf('cmpl', speaker.id), object: 'text_completion' as const };
    const before = body.echo ? prompt : '';
    if (body.stream) {
      const wantsUsage = body.stream_options?.include_usage === true;
      return Answer.events(await begun(streamed(pieces, { head, before }, wantsUsage)), 'openai');
    }
    const { answers, usage } = await gather(pieces);
    const choices = answers.map(({ text, reason }, index) => ({
      index,
      text: before + text,
      logprobs: null,
      finish_reason: finishOf(reason),
    }));
    return { ...head, choices, usage: usageOf(usage) };
  },
});

type Chunk = Static<typeof Completion>;

async function* streamed(
  pieces: AsyncIterable<Piece>,
  { head, before }: { head: Pick<Chunk, 'id' | 'object' | 'created' | 'model'>; before: string },
  wantsUsage: boolean,
): AsyncGenerator<ServerEvent<Chunk>> {
  const chunk = (index: number, text: string, finish: Chunk['choices'][0]['finish_reason']) => ({
    data: { ...head, choices: [{ index, text, logprobs: null, finish_reason: finish }] },
  });
  const begun = new Set<number>();
  let usage: TokenCount = { prompt: 0, answer: 0 };
  for await (const piece of pieces) {
    const { answer } = piece;
    if (before !== '' && !begun.has(answer)) yield chunk(answer, before, null);
    begun.add(answer);
    if (piece.type === 'text') yield chunk(answer, piece.text, null);
    if (piece.type !== 'end') continue;
    yield chunk(answer, '', finishOf(piece.reason));
    usage = addUsage(usage, piece.usage);
  }
  if (wantsUsage) yield { data: { ...head, choices: [], usage: usageOf(usage) } };
}
