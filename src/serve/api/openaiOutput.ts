import { randomBytes } from 'node:crypto';
import type { EndReason, TokenCount } from '../answering.js';
import type { Usage } from '../contract/openai.js';

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

export function finishOf(reason: EndReason): 'stop' | 'length' {
  return reason === 'length' ? 'length' : 'stop';
}
