import { randomBytes } from 'node:crypto';
import type { Static } from 'typebox';
import type { TokenLikelihood } from '../../llama/likelihood.js';
import type { EndReason, TokenCount } from '../answering.js';
import type { ChatLogprobs, TextLogprobs, Usage } from '../contract/openai.js';

/** What answers in OpenAI's forms share. */

/** A conversation as long as the context of any model. */
export const BODY_LIMIT = 16 << 20;

/** @param kind what an id of this API begins with */
export function headOf(kind: string, model: string): { id: string; created: number; model: string } {
  return { id: `${kind}-${randomBytes(12).toString('hex')}`, created: Math.floor(Date.now() / 1000), model };
}

export function usageOf({ prompt, answer }: TokenCount): Usage {
  return { prompt_tokens: prompt, completion_tokens: answer, total_tokens: prompt + answer };
}

export function finishOf(reason: EndReason): 'stop' | 'length' | 'tool_calls' {
  return reason === 'calls' ? 'tool_calls' : reason;
}

/** JSON has no infinity: the likelihood of what a model rules out. */
const LEAST = -9999;
const finite = (logprob: number) => Math.max(LEAST, logprob);

export function chatLogprobs(likelihoods: readonly TokenLikelihood[]): Static<typeof ChatLogprobs> {
  const one = ({ text, bytes, logprob }: Pick<TokenLikelihood, 'text' | 'bytes' | 'logprob'>) => ({
    token: text,
    logprob: finite(logprob ?? 0),
    bytes,
  });
  return {
    content: likelihoods.map((each) => ({ ...one(each), top_logprobs: each.likeliest.map(one) })),
    refusal: null,
  };
}

/** Lists of the likelihoods of a text's tokens, piece by piece. */
export class TextLikelihoods {
  private offset = 0;
  private readonly decoder = new TextDecoder();

  next(likelihoods: readonly TokenLikelihood[]): Static<typeof TextLogprobs> {
    const lists: Static<typeof TextLogprobs> = { tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] };
    for (const one of likelihoods) {
      lists.tokens.push(nameOf(one));
      lists.token_logprobs.push(one.logprob === null ? null : finite(one.logprob));
      const top: Record<string, number> = Object.create(null) as Record<string, number>;
      // Of two with one name the likelier one.
      for (const other of one.likeliest) top[nameOf(other)] ??= finite(other.logprob!);
      lists.top_logprobs.push(one.likeliest.length === 0 ? null : { ...top });
      lists.text_offset.push(this.offset);
      this.offset += [...this.decoder.decode(Uint8Array.from(one.bytes), { stream: true })].length;
    }
    return lists;
  }
}

/** As OpenAI's API names a token whose bytes are no text. */
function nameOf({ text, bytes }: Pick<TokenLikelihood, 'text' | 'bytes'>): string {
  if (Buffer.from(text, 'utf8').equals(Uint8Array.from(bytes))) return text;
  return `bytes:${bytes.map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')}`;
}
