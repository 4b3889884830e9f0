import type { Vocabulary } from '../engine/vocabulary.js';
import type { Session } from './Session.js';

/** How likely a model holds a token at its place, before anything that drawing does to likelihoods. */

export interface Likelihood {
  /** Its text; incomplete characters are shown as U+FFFD. */
  text: string;
  /** Its text, exactly. */
  bytes: number[];
  /** Natural logarithm of its probability; null where the model was not asked: nothing stands before the first token of a text. */
  logprob: number | null;
}

export interface TokenLikelihood extends Likelihood {
  /** The likeliest tokens at this place, as many as were asked for. */
  likeliest: Likelihood[];
}

/** @param logits [vocabulary] at the token's place */
export function likelihoodOf(
  token: number,
  logits: Float32Array | undefined,
  { vocabulary, likeliest }: { vocabulary: Vocabulary; likeliest: number },
): TokenLikelihood {
  const show = (one: number, logprob: number | null): Likelihood => {
    const bytes = vocabulary.piece(one, true);
    return { text: Buffer.from(bytes).toString('utf8'), bytes: [...bytes], logprob };
  };
  if (!logits) return { ...show(token, null), likeliest: [] };
  const total = logSumExp(logits);
  const top: number[] = [];
  for (let one = 0; likeliest > 0 && one < logits.length; one++) {
    if (top.length === likeliest && logits[one]! <= logits[top.at(-1)!]!) continue;
    // Of equal ones the first comes first.
    let at = top.length;
    while (at > 0 && logits[top[at - 1]!]! < logits[one]!) at--;
    top.splice(at, 0, one);
    top.length = Math.min(top.length, likeliest);
  }
  return {
    ...show(token, logits[token]! - total),
    likeliest: top.map((one) => show(one, logits[one]! - total)),
  };
}

/** Tokens whose logits [vocabulary] are held at once. */
const AT_ONCE = 64;

/** How likely each token of a sequence is after those before it. The last one's logits are there to draw from then. */
export async function readLikelihoods(
  session: Session,
  tokens: Int32Array,
  { likeliest, signal }: { likeliest: number; signal?: AbortSignal },
): Promise<TokenLikelihood[]> {
  const how = { vocabulary: session.vocabulary, likeliest };
  const found = [likelihoodOf(tokens[0]!, undefined, how)];
  for (let from = 0; from < tokens.length; from += AT_ONCE) {
    const to = Math.min(tokens.length, from + AT_ONCE);
    const places = Array.from({ length: to - from }, (_, i) => from + i);
    const onLogits = (logits: Float32Array, place: number) => {
      if (place + 1 < tokens.length) found.push(likelihoodOf(tokens[place + 1]!, logits, how));
    };
    await session.read(tokens.subarray(0, to), places, { onLogits, signal });
  }
  return found;
}

/** -log softmax(logits)[token], in nats. */
export function negativeLogLikelihood(logits: Float32Array, token: number): number {
  return logSumExp(logits) - logits[token]!;
}

/** log Σ exp, computed without overflow. */
export function logSumExp(logits: Float32Array): number {
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) if (logits[i]! > max) max = logits[i]!;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - max);
  return max + Math.log(sum);
}
