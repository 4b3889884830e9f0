import type { LearntPart } from './examples.js';
import type { FittedEvent } from './fittedEvent.js';

export interface RidgeSettings {
  /** Largest rank of a module. */
  rank: number;
  /** Candidates for λ; with validation rows the best is chosen module by module, otherwise the first is used. */
  lambdas: readonly number[];
  /** First layer that follows the teacher. */
  firstLayer: number;
  /** Passes that follow the labels, at most; validation may end them earlier. */
  sweeps: number;
  /** First layer that follows the labels, at least `firstLayer`. */
  firstSweepLayer: number;
}

export type RidgeEvent =
  | { type: 'progress'; done: number; total: number }
  | FittedEvent
  | { type: 'sweep'; sweep: number; nll: Record<LearntPart, number> };
