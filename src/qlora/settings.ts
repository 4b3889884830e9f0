import type { LayerLinear } from '../model/architecture.js';
import type { TransposedType } from '../model/weights.js';
import type { ParameterState } from './parameters.js';

export interface QloraSettings {
  /** First adapted layer; those below are computed once. */
  firstLayer: number;
  /** Adapted linears of a layer. */
  modules: readonly LayerLinear[];
  rank: number;
  /** The adapter adds alpha/rank · B·A·x, or alpha/√rank with `rsLora` (Kalajdzievski 2023). */
  alpha: number;
  rsLora: boolean;
  /** Peak of the learning rate. */
  learningRate: number;
  /** Learning rate of B as a multiple of A's (LoRA+, Hayou et al. 2024). */
  loraPlus: number;
  epochs: number;
  /** Examples a step. */
  batch: number;
  /** Tokens computed at once, at most. */
  microTokens: number;
  dropout: number;
  /** Share of all steps in which the learning rate rises. */
  warmup: number;
  /** Learning rate at the end of the schedule as a share of its peak; 1 keeps it constant. */
  rateFloor: number;
  weightDecay: number;
  /** Largest gradient norm. */
  clip: number;
  /** Validations in an epoch. */
  evaluations: number;
  /** Validations in a row without a new best that are borne; one more ends training. */
  patience: number;
  /** Weight of the past in the mean over the steps that is validated and kept; 0 keeps the newest values. */
  averaging: number;
  /** Runs of which the mean is kept, at most; see `fitQlora`. */
  runs: number;
  /** Rank of that mean, at most. */
  keptRank: number;
  /** Runs after the first learn the validation examples too, which have decided by then how long to train. */
  learnValidation: boolean;
  seed: number;
  /** Computes activations twice instead of keeping them: a third more time, a fraction of the memory. */
  recompute: boolean;
  transposedType: TransposedType;
}

/** Everything that training needs to go on as if it had never stopped. */
export interface QloraState {
  /** Steps done. */
  step: number;
  parameters: ParameterState;
  best: { step: number; validation: number; a: Float32Array; b: Float32Array };
  /** NLL of the validation sequences before the first step. */
  first: number;
  /** Step of the last validation; -1 before any. */
  validated: number;
  /** Validations since the best one. */
  stale: number;
  /** 1, or 1/2 after a divergence. */
  rateFactor: number;
  /** Steps before this belong to a path that was left; Adam's bias correction counts from here. */
  since: number;
  /** Exponential mean of the training loss, and the lowest it has been. */
  smoothed: number;
  lowest: number;
  /** Seconds of training before this process. */
  seconds: number;
  /** The run in hand, from 0, and how many there are going to be (1 until the first has ended). */
  run: number;
  runs: number;
  /** Step at which the first run began: 0, or where it began again from the alternative. */
  begun: number;
  /** Steps done before the run in hand. */
  offset: number;
  /** The problem's alternative as flat values, while it may still be needed; and whether runs begin from it. */
  alternative?: { a: Float32Array; b: Float32Array };
  fromAlternative: boolean;
  /** Why the first run ended; undefined before. */
  ended?: 'schedule' | 'validation' | 'divergence';
  /** What the runs between the first, whose best state is `best`, and the one in hand came to. */
  finished: { a: Float32Array; b: Float32Array }[];
}

export type QloraEvent =
  | { type: 'progress'; done: number; total: number }
  | {
      type: 'step';
      step: number;
      steps: number;
      epoch: number;
      /** Mean NLL of the step's response tokens, before the step. */
      loss: number;
      learningRate: number;
      gradientNorm: number;
      tokensPerSecond: number;
    }
  | { type: 'validation'; step: number; epoch: number; nll: number; best: boolean }
  /** Training begins again, from the alternative. */
  | { type: 'restart'; step: number }
  /** A further run begins, of so many steps; the first one tells nothing. */
  | { type: 'run'; run: number; runs: number; step: number; steps: number }
  | { type: 'diverged'; step: number; loss: number; backTo: number; learningRate: number };
