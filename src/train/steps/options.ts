import { resolve } from 'node:path';
import { UsageError } from '../../base/errors.js';
import { choice, flag, type Schema, text, type Values } from '../../base/options.js';
import type { TuneEvent } from '../events.js';
import { recipeOptions, runOptions } from '../options.js';
import type { LearntPart, Part } from '../ridge/examples.js';

const { layers, shots, maxTokens, seed, rank, lambda, sweeps, alpha } = recipeOptions;
const { model, columns, heldout, teacher, threads } = runOptions;

/** Decides what a file of activations holds; the defaults are those of `loam tune --method ridge`. */
export const embedSettings = {
  layers: { ...layers, sentence: 'Layers to adapt (default: the upper half).' },
  shots,
  columns,
  maxTokens,
  seed,
} as const satisfies Schema;

const f16 = flag('Store activations in half precision: half the size, but no longer the same bits as `loam tune`.');
const modelOfFile = {
  ...model,
  default: undefined,
  sentence: 'Base model, if the one that the file names has moved: it must be the same file.',
} as const;

export const embedOptions = {
  out: text('FILE', 'File of activations to write, .npz.'),
  model: { ...model, default: undefined, sentence: `${model.sentence.slice(0, -1)} (default ${model.default}).` },
  heldout: {
    ...heldout,
    sentence:
      'Examples that `tune` would measure on: those that ask the same are left out, and the teacher is measured on these.',
  },
  teacher,
  ...embedSettings,
  teacherOnly: flag(
    "Leave out the student's activations, which solving layer by layer does not need: a fraction of the size.",
  ),
  f16,
  with: text(
    'DIR',
    'From a file of activations: write those of one linear layer, of the student with the corrections in DIR applied.',
  ),
  linear: text(
    'NAME',
    'With --with: which linear layer, such as blk.15.ffn_down (default: the first without a correction in DIR).',
  ),
  threads,
} as const satisfies Schema;
export type EmbedOptions = Values<typeof embedOptions>;

export const solveOptions = {
  out: text('DIR', 'Folder to write the factors to.'),
  order: choice(
    ['layers', 'together'],
    'layers: solve layer by layer with the model, each from what the corrections below it do, as in `tune`. together: solve all layers from the bare activations, without the model; predicts far worse.',
  ),
  rank,
  lambda,
  sweeps: {
    ...sweeps,
    sentence:
      'Maximum number of passes that fit the labels afterwards, as in `tune`; only with --order layers (default 3).',
  },
  with: text('DIR', 'Folder of factors that are applied as they are; only what it lacks is solved.'),
  model: modelOfFile,
  threads,
} as const satisfies Schema;
export type SolveOptions = Values<typeof solveOptions>;

export const packOptions = {
  out: text('FILE', 'Adapter file to write, .gguf.'),
  peft: text('DIR', 'Folder for the adapter in the form that PEFT reads (default: --out with -peft instead of .gguf).'),
  alpha,
  model: {
    ...model,
    default: undefined,
    sentence: 'Base model (default: the one that factors.json names).',
  },
} as const satisfies Schema;
export type PackOptions = Values<typeof packOptions>;

/** What the steps of the pipeline tell while they work. */
export type PipelineEvent =
  | TuneEvent
  /** What is going to be written, before the work for it begins. */
  | { type: 'size'; rows: number; linears: number; bytes: number };

export interface EmbedResult {
  type: 'result';
  /** The file of activations; null if every linear has its correction already. */
  activations: string | null;
  /** The linears in the file, in the order in which they are solved. */
  linears: { layer: number; module: string }[];
  rows: { train: number; validation: number };
  bytes: number;
  /** NLL of the teacher by Loam's own graph. */
  nll: { teacher: Partial<Record<Part, number>> };
  seconds: number;
  peakRssBytes: number;
}

export interface SolveResult {
  type: 'result';
  /** The folder of factors. */
  factors: string;
  order: string;
  /** Linears that have a correction of rank above 0, of those in the folder. */
  corrected: number;
  linears: number;
  /** Label sweeps that were kept. */
  sweeps: number;
  /** By Loam's own graph; the student's only if it walked through all layers. */
  nll: { teacher: Partial<Record<Part, number>>; student?: Partial<Record<LearntPart, number>> };
  seconds: number;
  peakRssBytes: number;
}

export interface PackResult {
  type: 'result';
  /** The GGUF file. */
  adapter: string;
  /** The folder for PEFT. */
  peft: string;
  linears: number;
  /** Largest rank. */
  rank: number;
  alpha: number;
  bytes: number;
}

/** The path of --out, which `embed` and the other steps don't choose themselves: what they write can be large. */
export function requireOut(out: string | undefined): string {
  if (out !== undefined) return resolve(out);
  throw new UsageError({ found: 'no --out', expected: 'the path to write to', fix: 'see --help' });
}
