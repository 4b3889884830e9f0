import { ruleOptions } from '../base/device/rules.js';
import { choice, duration, flag, integer, layers, number, type Schema, text, type Values } from '../base/options.js';
import { columnsOption } from '../examples/columns.js';
import { layerLinears } from '../families/family.js';

/** Everything that decides the adapter. Stored as its recipe, so that a run can be repeated. */
export const recipeOptions = {
  method: choice(
    ['auto', 'ridge', 'qlora'],
    'How to tune: ridge needs only forward passes, qlora trains by gradients, auto is qlora where the model can be trained so and ridge elsewhere.',
  ),
  rank: integer([1, 512], 'Maximum rank of a correction (default 64 for ridge, 16 for qlora and auto).'),
  alpha: number(
    [1e-3, 1e6],
    'LoRA alpha (default: twice the rank for qlora and auto; the rank for ridge, where it has no effect).',
    { value: 'N', advanced: true },
  ),
  layers: layers(
    'Layers to adapt (default: the upper half for ridge; the upper two thirds for qlora and auto, all of them without replay or from a start).',
  ),
  shots: integer(
    [0, 512],
    'Examples that the teacher reads before each question (default: depends on the data and the context).',
  ),
  lambda: number(
    [1e-6, 100],
    'Ridge penalty relative to the mean squared activation (default: chosen on validation examples).',
    { advanced: true },
  ),
  sweeps: integer(
    [0, 20],
    'Maximum number of ridge passes that fit the labels after the teacher; validation may end them earlier (default 3; 0 before gradients, which do that).',
  ),
  epochs: number(
    [0.01, 1000],
    'Maximum number of qlora passes over the data; validation may end them earlier (default: depends on the data).',
    { value: 'N' },
  ),
  batch: integer([1, 4096], 'Examples per qlora step.', { default: 4 }),
  lr: number(
    [1e-8, 1],
    'Peak learning rate of qlora (default 1.4e-3; half of that when it starts from existing factors).',
  ),
  targets: text('LIST', `Linear layers that qlora adapts: all, or some of ${layerLinears.join(',')}.`, {
    default: 'all',
    advanced: true,
  }),
  rsLora: flag('Scale by alpha/sqrt(rank) instead of alpha/rank.', { advanced: true }),
  loraPlus: number([0.01, 100], "Learning rate of B as a multiple of A's (LoRA+).", { default: 4, advanced: true }),
  dropout: number([0, 0.9], 'Fraction of the inputs of a correction dropped at random during training.', {
    default: 0,
    advanced: true,
  }),
  weightDecay: number([0, 10], 'Weight decay of AdamW.', { default: 0, advanced: true }),
  warmup: number([0, 1], 'Fraction of the steps over which the learning rate rises.', {
    default: 0.05,
    advanced: true,
  }),
  clip: number([1e-6, 1e6], 'Maximum norm of the gradient.', { default: 1, advanced: true }),
  averaging: number(
    [0, 0.9999],
    'Decay of the moving average of the factors that is validated and kept; 0 keeps the latest values.',
    { default: 0.97, advanced: true },
  ),
  runs: integer(
    [1, 16],
    'Maximum number of qlora runs whose mean is kept; each run after the first is as long as the first took to reach its best state.',
    { default: 3, advanced: true },
  ),
  patience: integer(
    [0, 1000],
    'Stop qlora after more than this many validations in a row (two per epoch) without improvement.',
    { default: 1, advanced: true },
  ),
  replay: number(
    [0, 100],
    'How firmly the model keeps to plain answers, and to what it predicted of them before, of general questions that training is reminded of between your examples; 0 is faster and lets the adapter unlearn the rest (ridge: 0, or all the same).',
    { default: 0.3 },
  ),
  maxTokens: integer([16, 1 << 20], 'Leave out examples longer than this many tokens (they are counted).', {
    default: 2048,
    advanced: true,
  }),
  seed: integer([0, 0xffffffff], 'Seed of the split and of every random choice.', { default: 1 }),
} as const satisfies Schema;

export type Recipe = Values<typeof recipeOptions>;

/** Where a run reads and writes, and what it may use. */
export const runOptions = {
  model: text('MODEL', 'Base model: a name from `loam models list` or a path to a GGUF file.', {
    default: 'smollm2-135m',
  }),
  out: text('FILE', 'Adapter file to write (default: next to the data, named NAME-lora.gguf).'),
  columns: columnsOption,
  heldout: text('FILE', 'Examples to measure on (default: a tenth of the data is held out).'),
  teacher: text('ADAPTER', "Skill adapter applied to ridge's teacher."),
  start: text('ADAPTER', 'Adapter of the same base model that qlora starts from, such as a skill adapter.'),
  budget: duration('Time limit for tuning, such as 90s, 10m or 2h; the best adapter by then is kept.'),
  resume: flag('Resume the stopped run of this output if everything is as it was, or fail and say what has changed.'),
  restart: flag('Start over: a stopped run of this output is given up, and its checkpoints are removed.'),
  report: text('FILE', 'Write an HTML page with the curves, the figures, and answers before and after.'),
  skipGeneral: flag('Do not measure what the adapter has lost on the bundled general questions.', { advanced: true }),
  gentle: flag('Leave the device to other programs and keep it cool: lowest priority, half of the cores.'),
  memory: integer(
    [64, 1 << 20],
    'Megabytes of memory that training may take, those of the model file among them; less is kept, and less computed at once (default: what is free).',
    { advanced: true },
  ),
  threads: integer([1, 512], 'Compute threads (default: the fast cores of this machine).', { advanced: true }),
  keepAwake: flag('Keep the device from falling asleep while the run works; a phone is kept awake anyway.', {
    advanced: true,
  }),
  ...ruleOptions,
} as const satisfies Schema;

export const tuneOptions = { ...recipeOptions, ...runOptions } as const satisfies Schema;
export type TuneOptions = Values<typeof tuneOptions>;

const {
  method: _method,
  teacher: _teacher,
  shots: _shots,
  lambda: _lambda,
  sweeps: _sweeps,
  ...qloraOptions
} = tuneOptions;

/**
 * Options of a general skill adapter, which qlora alone trains. It is learnt once and used often, and must not overfit the phrasing of
 * its examples: one pass, a calmer learning rate.
 */
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
  // What it learns is how to answer in general.
  replay: { ...qloraOptions.replay, default: 0 },
} as const satisfies Schema;

/** The run that they mean. */
export function skillRun(options: Values<typeof skillOptions>): TuneOptions {
  return { ...options, method: 'qlora', teacher: undefined, shots: undefined, lambda: undefined, sweeps: undefined };
}
