import type { Schema, Values } from '../util/options.js';

/** How the next token is drawn; the same names as in llama.cpp and in the OpenAI API. */
export const samplingOptions = {
  temperature: {
    kind: 'number',
    min: 0,
    max: 5,
    default: 0.7,
    value: 'X',
    sentence: 'Randomness of answers; 0 always takes the likeliest token.',
  },
  topP: {
    kind: 'number',
    min: 0,
    max: 1,
    default: 0.9,
    value: 'X',
    sentence: 'Draws from the likeliest tokens that together have this probability.',
  },
  repeatPenalty: {
    kind: 'number',
    min: 1,
    max: 2,
    default: 1.05,
    value: 'X',
    sentence: 'Makes the last 64 tokens less likely to come again; 1 is off.',
  },
  seed: {
    kind: 'integer',
    min: 0,
    max: 0xffffffff,
    default: undefined,
    value: 'N',
    sentence: 'Makes answers repeatable.',
  },
  maxTokens: {
    kind: 'integer',
    min: 1,
    max: 100_000,
    default: 512,
    value: 'N',
    sentence: 'Ends an answer after this many tokens.',
  },
} as const satisfies Schema;

export type Sampling = Values<typeof samplingOptions>;
