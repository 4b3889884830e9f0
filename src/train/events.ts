import type { Problem } from '../examples/example.js';

/** Mean negative log-likelihood in nats a response token, measured in stock libllama. */
export interface MeasuredNll {
  base: number;
  adapted: number;
}

/** One linear is corrected. */
export interface FittedEvent {
  type: 'fitted';
  layer: number;
  module: string;
  rank: number;
  lambda: number;
  /** Share of the squared target that the correction explains in the training rows. */
  explained: number;
  /** Share of it that is left in the validation rows, where there are any. */
  error?: number;
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
  | FittedEvent
  /** State after a pass that follows the labels (0: before the first), by our own graph. */
  | { type: 'sweep'; sweep: number; nll: { train: number; validation: number } }
  /** What the gradient stage is going to take, with cheaper settings beside it. */
  | ({
      type: 'quote';
      layers: number;
      recompute: boolean;
      availableBytes: number;
      cheaper: (Quote & { layers: number; recompute: boolean })[];
    } & Quote)
  /** Goes on from a checkpoint of a stopped run. */
  | { type: 'resumed'; step: number }
  /** One optimiser step; `loss` is the mean NLL of its response tokens before it. */
  | {
      type: 'step';
      step: number;
      steps: number;
      epoch: number;
      loss: number;
      learningRate: number;
      gradientNorm: number;
      tokensPerSecond: number;
      rssBytes: number;
      seconds: number;
    }
  /** NLL of the validation examples by our own graph. */
  | { type: 'validation'; step: number; epoch: number; nll: number; best: boolean }
  /** Training from nothing came to less than ridge had by then, and begins again from ridge's factors. */
  | { type: 'restart'; step: number }
  /** A further run of training begins, whose result is averaged with the first's. */
  | { type: 'run'; run: number; runs: number; step: number; steps: number }
  /** The loss left all bounds: training went back to the best state with half the learning rate. */
  | { type: 'diverged'; step: number; loss: number; backTo: number; learningRate: number };

export type Stage = 'hash' | 'embed' | 'ridge' | 'qlora' | 'measure' | 'answers';

/** Figures that are told before a run, and held against the truth after it. */
export interface Quote {
  seconds: number;
  memoryBytes: number;
  diskBytes: number;
  /** Where the device tells what it draws. */
  energyJoules?: number;
}

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
  /** Steps of the gradient stage, and which one's state was kept. */
  steps?: number;
  bestStep?: number;
  /** Runs of the gradient stage whose mean the adapter is. */
  runs?: number;
  /** Quote and truth of the gradient stage. */
  quote?: { quoted: Quote; truth: Quote };
  energyJoules?: number;
}
