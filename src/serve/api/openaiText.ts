import type { Static } from 'typebox';
import { UsageError } from '../../base/errors.js';
import type { TokenLikelihood } from '../../llama/likelihood.js';
import type { TextPrompt } from '../../llama/prompts.js';
import { type AnswerRequest, addUsage, answering, gather, type Piece, type TokenCount } from '../answering.js';
import { Completion, CompletionInput } from '../contract/openai.js';
import type { ServerEvent } from '../http/events.js';
import { Answer, routesOf } from '../http/route.js';
import type { Services } from '../Services.js';
import { findSuited } from '../speakers.js';
import { begun } from './chat.js';
import { refuseUnserved, samplingOf, stopsOf } from './openaiInput.js';
import { BODY_LIMIT, type finishOf, headOf, TextLikelihoods, usageOf } from './openaiOutput.js';

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
    refuseUnserved(body, 'text');
    const prompts = promptsOf(body);
    const count = body.n ?? 1;
    const drawn = Math.max(count, body.best_of ?? 1);
    if (drawn > count && body.stream) {
      throw new UsageError({ found: '"best_of" above "n" cannot be streamed', fix: 'leave one of the two out' });
    }
    if (drawn > count && body.temperature === 0) {
      throw new UsageError({
        found: '"best_of" above "n" at a temperature of 0, where all answers are the same',
        fix: 'raise the temperature, or leave "best_of" out',
      });
    }
    if (body.best_of && body.best_of < count) {
      throw new UsageError({ found: '"best_of" below "n"', fix: 'raise it, or leave it out' });
    }
    if (body.gate && prompts.length > 1) {
      throw new UsageError({ found: '"gate" of several prompts is not served', fix: 'send each by itself' });
    }
    const likeliest = body.logprobs ?? undefined;
    const common: Omit<AnswerRequest, 'prompt'> = {
      sampling: samplingOf(body, body.max_tokens ?? 16),
      options: {
        stop: stopsOf(body),
        show: { prompt: body.echo ?? false, likeliest: drawn > count ? (likeliest ?? 0) : likeliest },
      },
      count: drawn,
    };
    const speaker = await findSuited(services, body, key, { ...common, prompt: prompts[0]! }, signal);
    const head = { ...headOf('cmpl', speaker.id), object: 'text_completion' as const };
    const ask = (prompt: TextPrompt) => answering(services, speaker, { ...common, prompt }, signal);
    if (body.stream) {
      const pieces = prompts.map((prompt) => () => ask(prompt));
      const wantsUsage = body.stream_options?.include_usage === true;
      return Answer.events(await begun(streamed(pieces, { head, count, wantsUsage })), 'openai');
    }
    const choices: Chunk['choices'] = [];
    let sum: TokenCount = { prompt: 0, answer: 0 };
    for (const prompt of prompts) {
      const { answers, usage } = await gather(ask(prompt));
      sum = { prompt: sum.prompt + usage.prompt, answer: sum.answer + usage.answer };
      for (const { text, reason, likelihoods } of best(answers, count)) {
        const logprobs = likeliest === undefined ? null : new TextLikelihoods().next(likelihoods);
        choices.push({ index: choices.length, text, logprobs, finish_reason: finish(reason) });
      }
    }
    return { ...head, choices, usage: usageOf(sum) };
  },
});

type Chunk = Static<typeof Completion>;
/** Nothing is called here. */
const finish = (reason: Parameters<typeof finishOf>[0]) => (reason === 'length' ? 'length' : 'stop');

/** @throws UsageError */
function promptsOf({ prompt, suffix, echo }: Static<typeof CompletionInput>): TextPrompt[] {
  const isTokens = (one: unknown): one is number[] => Array.isArray(one) && typeof one[0] === 'number';
  const list: readonly (string | number[])[] =
    typeof prompt === 'string' || isTokens(prompt) ? [prompt] : (prompt as (string | number[])[]);
  return list.map((one) => {
    if (typeof suffix !== 'string' || suffix === '') return typeof one === 'string' ? one : { tokens: one };
    if (echo) throw new UsageError({ found: '"echo" beside "suffix" is not served', fix: 'leave one of the two out' });
    if (typeof one === 'string') return { before: one, after: suffix };
    throw new UsageError({ found: '"suffix" of a prompt in tokens is not served', fix: 'send the prompt as a text' });
  });
}

/** The likeliest of several answers, by the mean of their tokens, likeliest first; all of them in their order if no more were drawn. */
function best<A extends { likelihoods: TokenLikelihood[] }>(answers: A[], count: number): A[] {
  if (answers.length <= count) return answers;
  const mean = ({ likelihoods }: A) =>
    likelihoods.length === 0
      ? Number.NEGATIVE_INFINITY
      : likelihoods.reduce((sum, { logprob }) => sum + (logprob ?? 0), 0) / likelihoods.length;
  return [...answers].sort((a, b) => mean(b) - mean(a)).slice(0, count);
}

async function* streamed(
  prompts: readonly (() => AsyncIterable<Piece>)[],
  {
    head,
    count,
    wantsUsage,
  }: { head: Pick<Chunk, 'id' | 'object' | 'created' | 'model'>; count: number; wantsUsage: boolean },
): AsyncGenerator<ServerEvent<Chunk>> {
  let sum: TokenCount = { prompt: 0, answer: 0 };
  for (const [at, ask] of prompts.entries()) {
    let usage: TokenCount = { prompt: 0, answer: 0 };
    const lists = new Map<number, TextLikelihoods>();
    for await (const piece of ask()) {
      const index = at * count + piece.answer;
      const choice = { index, text: '', logprobs: null, finish_reason: null };
      if (piece.type === 'text') {
        const { text, likelihoods } = piece;
        const list = lists.get(index) ?? new TextLikelihoods();
        lists.set(index, list);
        yield {
          data: { ...head, choices: [{ ...choice, text, logprobs: likelihoods ? list.next(likelihoods) : null }] },
        };
      }
      if (piece.type !== 'end') continue;
      yield { data: { ...head, choices: [{ ...choice, finish_reason: finish(piece.reason) }] } };
      usage = addUsage(usage, piece.usage);
    }
    sum = { prompt: sum.prompt + usage.prompt, answer: sum.answer + usage.answer };
  }
  if (wantsUsage) yield { data: { ...head, choices: [], usage: usageOf(sum) } };
}
