import type { Problem } from '../data/types.js';

/** Mean negative log-likelihood in nats a response token, measured in stock libllama. */
export interface MeasuredNll {
  base: number;
  adapted: number;
}

/** What a tuning run tells while it works: plain JSON, for the command line, the app and the log alike. */
export type TuneEvent =
  | {
      type: 'data';
      file: string;
      examples: number;
      train: number;
      validation: number;
      heldout: number;
      /** Response tokens that are learnt. */
      tokens: number;
    }
  | { type: 'problem'; file: string; problem: Problem }
  | { type: 'warning'; message: string }
  | { type: 'model'; path: string; name: string; architecture: string; layers: number; parameters: number }
  | { type: 'stage'; stage: Stage; message: string }
  /** `done` of `total` in a unit of the stage's own; an event each few hundred milliseconds. */
  | { type: 'progress'; stage: Stage; done: number; total: number }
  /** One corrected linear: errors are squared distances to the teacher on validation rows, relative to no correction. */
  | { type: 'fitted'; layer: number; module: string; rank: number; lambda: number; error?: number }
  /** State after a pass that follows the labels (0: before the first), by our own graph. */
  | { type: 'sweep'; sweep: number; nll: { train: number; validation: number } };

export type Stage = 'hash' | 'ridge' | 'measure';

export interface TuneResult {
  type: 'result';
  adapter: string;
  method: string;
  /** `teacher`: the base model with examples in its context, by our own graph: the yardstick. */
  nll: MeasuredNll & { teacher?: number };
  /** What the NLL was measured on. */
  measuredOn: 'heldout' | 'validation' | 'train';
  /** Response tokens measured. */
  tokens: number;
  seconds: number;
  peakRssBytes: number;
  bytes: number;
}
