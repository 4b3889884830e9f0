import { recipeOptions, runOptions } from '../tune/options.js';
import type { Schema, Values } from '../util/options.js';

const { layers, shots, maxTokens, seed, rank, lambda, sweeps, alpha } = recipeOptions;
const { model, heldout, teacher, threads } = runOptions;

/** Decides what a file of activations holds; the defaults are those of `loam tune --method ridge`. */
export const embedSettings = { layers, shots, maxTokens, seed } as const satisfies Schema;

const f16 = {
  kind: 'flag',
  default: false,
  sentence: 'Stores activations in half precision: half the size, and no longer the same bits as `loam tune`.',
} as const;
const modelOfFile = {
  ...model,
  default: undefined,
  sentence: 'Base model, if not the one that the file names: it must be the same file at another place.',
} as const;

export const embedOptions = {
  out: { kind: 'text', default: undefined, value: 'FILE', sentence: 'File of activations to write, .npz.' },
  model: { ...model, default: undefined, sentence: `${model.sentence.slice(0, -1)} (default ${model.default}).` },
  heldout: {
    ...heldout,
    sentence:
      'Examples that `tune` would measure on: those that ask the same are left out, and the teacher is measured.',
  },
  teacher,
  ...embedSettings,
  teacherOnly: {
    kind: 'flag',
    default: false,
    sentence:
      "Leaves the student's activations out, which solving layer by layer does not need: a fraction of the size.",
  },
  f16,
  with: {
    kind: 'text',
    default: undefined,
    value: 'DIR',
    sentence:
      'Of a file of activations: writes those of one linear anew, of the student that wears the corrections in DIR.',
  },
  linear: {
    kind: 'text',
    default: undefined,
    value: 'NAME',
    sentence: 'With --with: which linear, such as blk.15.ffn_down (default: the first that has no correction in DIR).',
  },
  threads,
} as const satisfies Schema;
export type EmbedOptions = Values<typeof embedOptions>;

export const solveOptions = {
  out: { kind: 'text', default: undefined, value: 'DIR', sentence: 'Folder to write the factors to.' },
  order: {
    kind: 'choice',
    choices: ['layers', 'together'],
    default: 'layers',
    sentence:
      'layers: the model walks along, so that each layer sees what the corrections below it do, as in `tune`. together: all layers from the bare activations, without the model; predicts far worse.',
  },
  rank,
  lambda,
  sweeps: {
    ...sweeps,
    sentence: 'Passes that follow the labels afterwards, as in `tune`; only with the order layers (default 3).',
  },
  with: {
    kind: 'text',
    default: undefined,
    value: 'DIR',
    sentence: 'Folder of factors that are worn as they are; what it lacks is solved.',
  },
  model: modelOfFile,
  threads,
} as const satisfies Schema;
export type SolveOptions = Values<typeof solveOptions>;

export const packOptions = {
  out: { kind: 'text', default: undefined, value: 'FILE', sentence: 'Adapter file to write, .gguf.' },
  peft: {
    kind: 'text',
    default: undefined,
    value: 'DIR',
    sentence: 'Folder for the adapter as PEFT reads it (default: the name of --out with -peft instead of .gguf).',
  },
  alpha,
  model: {
    ...model,
    default: undefined,
    sentence: 'Base model, if not the one that factors.json names.',
  },
} as const satisfies Schema;
export type PackOptions = Values<typeof packOptions>;
