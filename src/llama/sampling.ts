import { integer, number, type Schema, type Values } from '../base/options.js';
import type { SamplerSettings } from '../engine/sampler.js';

/** How the next token is drawn; the same names as in llama.cpp and in the OpenAI API. */
export const samplingOptions = {
  temperature: number([0, 5], 'Randomness of answers; 0 always takes the likeliest token.', { default: 0.7 }),
  topP: number([0, 1], 'Draw from the likeliest tokens that together have this probability.', { default: 0.9 }),
  repeatPenalty: number(
    [1, 2],
    'Make the last 64 tokens less likely to be repeated; 1 is off. Default: 1.05, and off at temperature 0.',
  ),
  seed: integer([0, 0xffffffff], 'Make answers repeatable.'),
  maxTokens: integer([1, 100_000], 'End an answer after this many tokens.', { default: 512 }),
} as const satisfies Schema;

export type Sampling = Values<typeof samplingOptions> &
  Pick<SamplerSettings, 'topK' | 'minP' | 'frequencyPenalty' | 'presencePenalty' | 'logitBias'>;

/** Without a penalty of its own an answer that is drawn repeats itself a little less; the likeliest one is the likeliest. */
export function penaltyOf({ repeatPenalty, temperature }: Sampling): number {
  return repeatPenalty ?? (temperature === 0 ? 1 : 1.05);
}
