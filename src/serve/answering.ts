import { randomBytes } from 'node:crypto';
import type { ChatEvent } from '../llama/ChatSession.js';
import type { TokenLikelihood } from '../llama/likelihood.js';
import type { ChatMessage, ToolCall } from '../model/message.js';
import type { InferenceRequest } from './inference/InferenceProcess.js';
import type { Services } from './Services.js';
import { answerWith, asSpeaker, type Speaker } from './speakers.js';

/**
 * What every API for answers has in common, whatever its JSON looks like: from a request to a stream of pieces. Each API translates its own
 * fields into the request and the pieces into its own events.
 */

export interface AnswerRequest extends Pick<InferenceRequest, 'prompt' | 'sampling' | 'options'> {
  /** Answers to the one prompt, given one after the other. With a seed, each next one has the next seed. Default: one. */
  count?: number;
}

/** Why an answer ended: by itself or at a stop text, because no tokens were left, or to have tools called. */
export type EndReason = 'stop' | 'length' | 'calls';

export type Piece =
  /** `answer` counts from 0. */
  | { type: 'text'; answer: number; text: string; likelihoods?: TokenLikelihood[] }
  /** Before its text. */
  | { type: 'thought'; answer: number; text: string }
  /** A call of a tool, after its text: `number` counts those of an answer from 0. */
  | { type: 'callBegin'; answer: number; number: number; name: string; id: string }
  /** Its arguments, JSON of which this is the next piece. */
  | { type: 'callText'; answer: number; number: number; text: string }
  /** All calls at the end, whole. */
  | ({ type: 'call'; answer: number } & WholeCall)
  /** `stopText`: the one that came up. */
  | { type: 'end'; answer: number; reason: EndReason; stopText?: string; usage: TokenCount };

/** `text`: its arguments, as the model wrote them if it writes JSON. */
export interface WholeCall {
  call: ToolCall & { id: string };
  text: string;
}

export interface TokenCount {
  prompt: number;
  answer: number;
}

/** Nothing comes before the first piece of an answer is there. @throws LoamError for what cannot be answered */
export async function* answering(
  services: Services,
  speaker: Speaker,
  { count = 1, sampling, ...request }: AnswerRequest,
  signal: AbortSignal,
): AsyncGenerator<Piece, void, void> {
  for (let answer = 0; answer < count; answer++) {
    const ids: string[] = [];
    let calls = 0;
    const seed = sampling.seed === undefined ? undefined : (sampling.seed + answer) % 2 ** 32;
    for await (const event of answerWith(services, speaker, { ...request, sampling: { ...sampling, seed } }, signal)) {
      if (event.type === 'text' || event.type === 'thought') yield { ...event, answer };
      if (event.type === 'callBegin') {
        const id = event.id ?? newCallId();
        yield { ...event, answer, number: ids.push(id) - 1, id };
      }
      if (event.type === 'callText') yield { ...event, answer, number: ids.length - 1 };
      if (event.type === 'call') yield { ...event, answer, call: { ...event.call, id: ids[calls++]! } };
      if (event.type === 'end') yield { type: 'end', answer, ...endOf(event, calls > 0) };
    }
  }
}

const newCallId = () => `call_${randomBytes(12).toString('hex')}`;

function endOf(event: Extract<ChatEvent, { type: 'end' }>, hasCalls: boolean) {
  const { reason, stopText, isShortened, promptTokens, tokens } = event;
  const usage = { prompt: promptTokens, answer: tokens };
  // Calls that are whole are to be made, whatever would have followed; what the tokens did not suffice for may be wrong.
  return {
    reason: hasCalls && !isShortened ? 'calls' : reason === 'length' ? 'length' : 'stop',
    stopText,
    usage,
  } as const;
}

/** One answer, whole. */
export interface WholeAnswer {
  text: string;
  thought: string;
  calls: WholeCall[];
  likelihoods: TokenLikelihood[];
  reason: EndReason;
  stopText?: string;
}

/** All pieces of a request: each answer whole, and the tokens of them all, the prompt counted once. */
export async function gather(pieces: AsyncIterable<Piece>): Promise<{ answers: WholeAnswer[]; usage: TokenCount }> {
  const answers: WholeAnswer[] = [];
  let usage: TokenCount = { prompt: 0, answer: 0 };
  for await (const piece of pieces) {
    answers[piece.answer] ??= { text: '', thought: '', calls: [], likelihoods: [], reason: 'stop' };
    const answer = answers[piece.answer]!;
    if (piece.type === 'text') {
      answer.text += piece.text;
      answer.likelihoods.push(...(piece.likelihoods ?? []));
    }
    if (piece.type === 'thought') answer.thought += piece.text;
    if (piece.type === 'call') answer.calls.push({ call: piece.call, text: piece.text });
    if (piece.type !== 'end') continue;
    answer.reason = piece.reason;
    answer.stopText = piece.stopText;
    usage = addUsage(usage, piece.usage);
  }
  return { answers, usage };
}

/** Tokens of several answers to one prompt, which is read once. */
export function addUsage(sum: TokenCount, one: TokenCount): TokenCount {
  return { prompt: one.prompt, answer: sum.answer + one.answer };
}

/** Tokens of the prompt that a conversation becomes. @throws LoamError for what cannot be rendered */
export async function countPrompt(
  services: Services,
  speaker: Speaker,
  { prompt, options }: AnswerRequest,
  signal: AbortSignal,
): Promise<number> {
  return await asSpeaker(services, speaker, (who, readAdapter) =>
    services.inference.count({ ...who, prompt: prompt as readonly ChatMessage[], options }, readAdapter, signal),
  );
}
