import type { Schema, Values } from '../base/options.js';

/** Everything that decides what an adapter becomes. Stored as its recipe, so that a run can be repeated. */
export const recipeOptions = {
  method: {
    kind: 'choice',
    choices: ['auto', 'ridge', 'qlora'],
    default: 'auto',
    sentence: 'How to tune: ridge needs forward passes only, qlora follows gradients, auto does one after the other.',
  },
  rank: {
    kind: 'integer',
    min: 1,
    max: 512,
    default: undefined,
    value: 'N',
    sentence: 'Largest rank of a correction (default 64 for ridge, 16 for qlora and auto).',
  },
  alpha: {
    kind: 'number',
    min: 1e-3,
    max: 1e6,
    default: undefined,
    value: 'N',
    sentence: 'LoRA alpha (default twice the rank for qlora and auto; for ridge the rank, and it changes no effect).',
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
    default: undefined,
    value: 'N',
    sentence:
      'Passes of ridge that follow the labels after the teacher, at most; validation may end them earlier (default 3; 0 for auto, whose gradients do that).',
  },
  epochs: {
    kind: 'number',
    min: 0.01,
    max: 1000,
    default: undefined,
    value: 'N',
    sentence: 'Passes of qlora over the data, at most; validation may end them earlier (default by the data).',
  },
  batch: {
    kind: 'integer',
    min: 1,
    max: 4096,
    default: 4,
    value: 'N',
    sentence: 'Examples a step of qlora.',
  },
  lr: {
    kind: 'number',
    min: 1e-8,
    max: 1,
    default: undefined,
    value: 'X',
    sentence: 'Peak learning rate of qlora (default 1.4e-3; half of it where it starts from known factors).',
  },
  targets: {
    kind: 'text',
    default: 'all',
    value: 'LIST',
    sentence: 'Linears that qlora adapts: all, or some of attn_q,attn_k,attn_v,attn_output,ffn_gate,ffn_up,ffn_down.',
    advanced: true,
  },
  rsLora: {
    kind: 'flag',
    default: false,
    sentence: 'Scales by alpha/sqrt(rank) instead of alpha/rank.',
    advanced: true,
  },
  loraPlus: {
    kind: 'number',
    min: 0.01,
    max: 100,
    default: 4,
    value: 'X',
    sentence: "Learning rate of B as a multiple of A's (LoRA+).",
    advanced: true,
  },
  dropout: {
    kind: 'number',
    min: 0,
    max: 0.9,
    default: 0,
    value: 'X',
    sentence: 'Share of the inputs of a correction that is left out at random while training.',
    advanced: true,
  },
  weightDecay: {
    kind: 'number',
    min: 0,
    max: 10,
    default: 0,
    value: 'X',
    sentence: 'Weight decay of AdamW.',
    advanced: true,
  },
  warmup: {
    kind: 'number',
    min: 0,
    max: 1,
    default: 0.05,
    value: 'X',
    sentence: 'Share of the steps in which the learning rate rises.',
    advanced: true,
  },
  clip: {
    kind: 'number',
    min: 1e-6,
    max: 1e6,
    default: 1,
    value: 'X',
    sentence: 'Largest norm of the gradient.',
    advanced: true,
  },
  averaging: {
    kind: 'number',
    min: 0,
    max: 0.9999,
    default: 0.97,
    value: 'X',
    sentence: 'Weight of the past in the mean over the steps that is validated and kept; 0 keeps the newest values.',
    advanced: true,
  },
  runs: {
    kind: 'integer',
    min: 1,
    max: 16,
    default: 3,
    value: 'N',
    sentence:
      'Runs of qlora, at most, of which the mean is kept: those after the first are as long as that took to its best state.',
    advanced: true,
  },
  patience: {
    kind: 'integer',
    min: 0,
    max: 1000,
    default: 1,
    value: 'N',
    sentence: 'Validations in a row (two an epoch) without a new best that are borne; one more ends qlora.',
    advanced: true,
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
    sentence: "Skill adapter that ridge's teacher wears.",
  },
  start: {
    kind: 'text',
    default: undefined,
    value: 'ADAPTER',
    sentence: 'Adapter that qlora begins with (of the same base model), such as a skill adapter.',
  },
  budget: {
    kind: 'duration',
    default: undefined,
    value: 'TIME',
    sentence: 'Time that tuning may take, such as 90s, 10m or 2h: the best adapter by then is kept.',
  },
  resume: {
    kind: 'flag',
    default: false,
    sentence: 'Insists on going on from a stopped run of this output; refuses, naming what, where something changed.',
  },
  restart: {
    kind: 'flag',
    default: false,
    sentence: 'Begins anew where a stopped run of the same settings would be gone on with.',
  },
  report: {
    kind: 'text',
    default: undefined,
    value: 'FILE',
    sentence: 'Writes an HTML page with the curves, the figures, and answers before and after.',
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

/** What helps against examples that are too long: the limit is the user's, or what the model was trained to read. */
export function limitAdvice(maxTokens: number, contextLength: number): string {
  return maxTokens < contextLength ? 'raise --max-tokens' : 'use a model with a longer context';
}
