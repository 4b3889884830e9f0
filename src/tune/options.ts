import type { Schema, Values } from '../util/options.js';

/** Everything that decides what an adapter becomes. Stored as its recipe, so that a run can be repeated. */
export const recipeOptions = {
  method: {
    kind: 'choice',
    choices: ['ridge'],
    default: 'ridge',
    sentence: 'How to tune: ridge needs forward passes only.',
  },
  rank: {
    kind: 'integer',
    min: 1,
    max: 512,
    default: 64,
    value: 'N',
    sentence: 'Largest rank of a correction; validation may choose less.',
  },
  alpha: {
    kind: 'number',
    min: 1e-3,
    max: 1e6,
    default: undefined,
    value: 'N',
    sentence: 'LoRA alpha to store (default the rank); the weights are scaled so that the effect stays the same.',
    advanced: true,
  },
  layers: {
    kind: 'layers',
    default: undefined,
    value: 'top:N|all',
    sentence: 'Layers to adapt (default the upper half).',
  },
  shots: {
    kind: 'integer',
    min: 0,
    max: 512,
    default: undefined,
    value: 'N',
    sentence: "Examples that the teacher reads before each question (default by the data's size and the context).",
  },
  lambda: {
    kind: 'number',
    min: 1e-6,
    max: 100,
    default: undefined,
    value: 'X',
    sentence: 'Ridge penalty relative to the mean squared activation (default chosen on validation examples).',
    advanced: true,
  },
  sweeps: {
    kind: 'integer',
    min: 0,
    max: 20,
    default: 3,
    value: 'N',
    sentence: 'Passes that follow the labels after the teacher, at most; validation may end them earlier.',
  },
  maxTokens: {
    kind: 'integer',
    min: 16,
    max: 1 << 20,
    default: 2048,
    value: 'N',
    sentence: 'Examples longer than this many tokens are left out, and counted.',
    advanced: true,
  },
  seed: {
    kind: 'integer',
    min: 0,
    max: 0xffffffff,
    default: 1,
    value: 'N',
    sentence: 'Decides the split and every random choice.',
  },
} as const satisfies Schema;

export type Recipe = Values<typeof recipeOptions>;

/** Where a run reads and writes, and what it may use. */
export const runOptions = {
  model: {
    kind: 'text',
    default: 'smollm2-135m',
    value: 'MODEL',
    sentence: 'Base model: a name from `loam models list` or a path to a GGUF file.',
  },
  out: {
    kind: 'text',
    default: undefined,
    value: 'FILE',
    sentence: 'Adapter file to write (default: beside the data, its name with -lora.gguf).',
  },
  heldout: {
    kind: 'text',
    default: undefined,
    value: 'FILE',
    sentence: 'Examples to measure on; without it a tenth of the data is held out.',
  },
  teacher: {
    kind: 'text',
    default: undefined,
    value: 'ADAPTER',
    sentence: 'Skill adapter that the teacher wears.',
  },
  threads: {
    kind: 'integer',
    min: 1,
    max: 512,
    default: undefined,
    value: 'N',
    sentence: 'Compute threads (default: the fast cores of this machine).',
    advanced: true,
  },
} as const satisfies Schema;

export const tuneOptions = { ...recipeOptions, ...runOptions } as const satisfies Schema;
export type TuneOptions = Values<typeof tuneOptions>;
