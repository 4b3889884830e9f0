import type { Schema, Values } from '../base/options.js';
import { layerLinears } from '../families/family.js';

/** Everything that decides the adapter. Stored as its recipe, so that a run can be repeated. */
export const recipeOptions = {
  method: {
    kind: 'choice',
    choices: ['auto', 'ridge', 'qlora'],
    default: 'auto',
    sentence: 'How to tune: ridge needs only forward passes, qlora trains by gradients, auto runs one after the other.',
  },
  rank: {
    kind: 'integer',
    min: 1,
    max: 512,
    default: undefined,
    value: 'N',
    sentence: 'Maximum rank of a correction (default 64 for ridge, 16 for qlora and auto).',
  },
  alpha: {
    kind: 'number',
    min: 1e-3,
    max: 1e6,
    default: undefined,
    value: 'N',
    sentence: 'LoRA alpha (default: twice the rank for qlora and auto; the rank for ridge, where it has no effect).',
    advanced: true,
  },
  layers: {
    kind: 'layers',
    default: undefined,
    value: 'top:N|all',
    sentence: 'Layers to adapt (default: the upper half for ridge, all for qlora and auto).',
  },
  shots: {
    kind: 'integer',
    min: 0,
    max: 512,
    default: undefined,
    value: 'N',
    sentence: 'Examples that the teacher reads before each question (default: depends on the data and the context).',
  },
  lambda: {
    kind: 'number',
    min: 1e-6,
    max: 100,
    default: undefined,
    value: 'X',
    sentence: 'Ridge penalty relative to the mean squared activation (default: chosen on validation examples).',
    advanced: true,
  },
  sweeps: {
    kind: 'integer',
    min: 0,
    max: 20,
    default: undefined,
    value: 'N',
    sentence:
      'Maximum number of ridge passes that fit the labels after the teacher; validation may end them earlier (default 3; 0 for auto, where gradients do that).',
  },
  epochs: {
    kind: 'number',
    min: 0.01,
    max: 1000,
    default: undefined,
    value: 'N',
    sentence:
      'Maximum number of qlora passes over the data; validation may end them earlier (default: depends on the data).',
  },
  batch: {
    kind: 'integer',
    min: 1,
    max: 4096,
    default: 4,
    value: 'N',
    sentence: 'Examples per qlora step.',
  },
  lr: {
    kind: 'number',
    min: 1e-8,
    max: 1,
    default: undefined,
    value: 'X',
    sentence: 'Peak learning rate of qlora (default 1.4e-3; half of that when it starts from existing factors).',
  },
  targets: {
    kind: 'text',
    default: 'all',
    value: 'LIST',
    sentence: `Linear layers that qlora adapts: all, or some of ${layerLinears.join(',')}.`,
    advanced: true,
  },
  rsLora: {
    kind: 'flag',
    default: false,
    sentence: 'Scale by alpha/sqrt(rank) instead of alpha/rank.',
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
    sentence: 'Fraction of the inputs of a correction dropped at random during training.',
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
    sentence: 'Fraction of the steps over which the learning rate rises.',
    advanced: true,
  },
  clip: {
    kind: 'number',
    min: 1e-6,
    max: 1e6,
    default: 1,
    value: 'X',
    sentence: 'Maximum norm of the gradient.',
    advanced: true,
  },
  averaging: {
    kind: 'number',
    min: 0,
    max: 0.9999,
    default: 0.97,
    value: 'X',
    sentence: 'Decay of the moving average of the factors that is validated and kept; 0 keeps the latest values.',
    advanced: true,
  },
  runs: {
    kind: 'integer',
    min: 1,
    max: 16,
    default: 3,
    value: 'N',
    sentence:
      'Maximum number of qlora runs whose mean is kept; each run after the first is as long as the first took to reach its best state.',
    advanced: true,
  },
  patience: {
    kind: 'integer',
    min: 0,
    max: 1000,
    default: 1,
    value: 'N',
    sentence: 'Stop qlora after more than this many validations in a row (two per epoch) without improvement.',
    advanced: true,
  },
  maxTokens: {
    kind: 'integer',
    min: 16,
    max: 1 << 20,
    default: 2048,
    value: 'N',
    sentence: 'Leave out examples longer than this many tokens (they are counted).',
    advanced: true,
  },
  seed: {
    kind: 'integer',
    min: 0,
    max: 0xffffffff,
    default: 1,
    value: 'N',
    sentence: 'Seed of the split and of every random choice.',
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
    sentence: 'Adapter file to write (default: next to the data, named NAME-lora.gguf).',
  },
  heldout: {
    kind: 'text',
    default: undefined,
    value: 'FILE',
    sentence: 'Examples to measure on (default: a tenth of the data is held out).',
  },
  teacher: {
    kind: 'text',
    default: undefined,
    value: 'ADAPTER',
    sentence: "Skill adapter applied to ridge's teacher.",
  },
  start: {
    kind: 'text',
    default: undefined,
    value: 'ADAPTER',
    sentence: 'Adapter of the same base model that qlora starts from, such as a skill adapter.',
  },
  budget: {
    kind: 'duration',
    default: undefined,
    value: 'TIME',
    sentence: 'Time limit for tuning, such as 90s, 10m or 2h; the best adapter by then is kept.',
  },
  resume: {
    kind: 'flag',
    default: false,
    sentence: 'Resume the stopped run of this output, or fail and say what has changed.',
  },
  restart: {
    kind: 'flag',
    default: false,
    sentence: 'Start over even if a stopped run with the same settings could be resumed.',
  },
  report: {
    kind: 'text',
    default: undefined,
    value: 'FILE',
    sentence: 'Write an HTML page with the curves, the figures, and answers before and after.',
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

/** A skill is learnt once and used often, and must not overfit the phrasing of its examples: one pass, a calmer learning rate. */
const {
  method: _method,
  teacher: _teacher,
  shots: _shots,
  lambda: _lambda,
  sweeps: _sweeps,
  ...qloraOptions
} = tuneOptions;

/** Options of a general skill adapter, which qlora alone trains. */
export const skillOptions = {
  ...qloraOptions,
  rank: { ...qloraOptions.rank, sentence: 'Maximum rank of a correction (default: 16).' },
  alpha: { ...qloraOptions.alpha, sentence: 'LoRA alpha (default: twice the rank).' },
  layers: { ...qloraOptions.layers, sentence: 'Layers to adapt (default: all).' },
  epochs: {
    ...qloraOptions.epochs,
    default: 1,
    sentence: 'Maximum number of passes over the data; validation may end them earlier.',
  },
  lr: { ...qloraOptions.lr, default: 5e-4, sentence: 'Peak learning rate.' },
  batch: { ...qloraOptions.batch, default: 8 },
} as const satisfies Schema;

/** The run that they mean. */
export function skillRun(options: Values<typeof skillOptions>): TuneOptions {
  return { ...options, method: 'qlora', teacher: undefined, shots: undefined, lambda: undefined, sweeps: undefined };
}
