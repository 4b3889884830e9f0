import type { LearntPart, Part } from '../ridge/examples.js';
import type { TuneEvent } from '../tune/events.js';

/** What the steps of the pipeline tell while they work. */
export type PipelineEvent =
  | TuneEvent
  /** What is going to be written, before the work for it begins. */
  | { type: 'size'; rows: number; linears: number; bytes: number };

export interface EmbedResult {
  type: 'result';
  /** The file of activations; null where every linear has its correction already, so there is nothing to write. */
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
  /** By Loam's own graph; the student's only where it walked through all layers. */
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
