import type { LayerLinear } from '../../families/family.js';
import type { ModuleFactors } from '../../model/factors.js';
import type { TransposedType } from '../../model/weights.js';
import type { TuneEvent } from '../events.js';
import type { Progress } from '../lab.js';
import type { Recipe } from '../options.js';
import type { StreamType } from './kept.js';
import { type FlatFactors, type ParameterState, parameterNames } from './parameters.js';
import type { TrainSequence } from './trainStep.js';

/** What training by gradients is given, what it tells, and the state that it can go on from. */

export interface QloraProblem {
  train: readonly TrainSequence[];
  /** Decide which state is kept; if there are none, a few of the training examples do. */
  validation: readonly TrainSequence[];
  /** Factors to begin with. */
  start?: readonly ModuleFactors[];
  /**
   * Factors to begin with instead if the first stretch of training without them, up to the first validation, has come to something
   * worse than they are.
   */
  alternative?: readonly ModuleFactors[];
  /** General examples on which the model is to predict as before. */
  replay?: readonly TrainSequence[];
}

/** Options that training takes as they are given. */
export const qloraOptionNames = [
  'rsLora',
  'loraPlus',
  'batch',
  'dropout',
  'warmup',
  'weightDecay',
  'clip',
  'patience',
  'averaging',
  'runs',
  'seed',
  'replay',
] as const satisfies readonly (keyof Recipe)[];

export interface QloraSettings extends Pick<Recipe, (typeof qloraOptionNames)[number]> {
  /** First adapted layer; those below are computed once. */
  firstLayer: number;
  /** Adapted linears of a layer. */
  modules: readonly LayerLinear[];
  rank: number;
  /** The adapter adds alpha/rank · B·A·x, or alpha/√rank with `rsLora` (Kalajdzievski 2023). */
  alpha: number;
  /** Peak of A's learning rate; B's is `loraPlus` times it (LoRA+, Hayou et al. 2024). */
  learningRate: number;
  /** Learning rate at the end of the schedule as a share of its peak; 1 keeps it constant. */
  rateFloor: number;
  epochs: number;
  /** Most tokens computed at once. */
  microTokens: number;
  /** Bytes for products that are not computed again on the way back, at most. Results don't depend on it. */
  keptBytes: number;
  /** Validations per epoch. */
  evaluations: number;
  /** Largest rank of the mean of all runs. */
  keptRank: number;
  /** Runs after the first learn the validation examples too, which have decided by then how long to train. */
  learnValidation: boolean;
  transposedType: TransposedType;
  /** How residual streams are kept until the way back. */
  streamType: StreamType;
}

/** Everything that training needs to go on as if it had never stopped. */
export interface QloraState {
  /** Steps done. */
  step: number;
  parameters: ParameterState;
  best: FlatFactors & { step: number; validation: number };
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
  /** The run in hand, from 0, and how many there are going to be (1 until the first has ended). */
  run: number;
  runs: number;
  /** Step at which the first run began: 0, or the step at which it started over from the alternative. */
  begun: number;
  /** Steps done before the run in hand. */
  offset: number;
  /** The problem's alternative as flat values, while it may still be needed; and whether runs begin from it. */
  alternative?: FlatFactors;
  fromAlternative: boolean;
  /** Why the first run ended; undefined before. */
  ended?: 'schedule' | 'validation' | 'divergence';
  /** What the runs between the first, whose best state is `best`, and the one in hand came to. */
  finished: FlatFactors[];
}

/** What training tells: events of a run; of a step without what the process adds. */
export type QloraEvent =
  | Progress
  | Omit<Extract<TuneEvent, { type: 'step' }>, 'rssBytes' | 'seconds'>
  | Extract<TuneEvent, { type: 'validation' | 'restart' | 'run' | 'diverged' }>;

/** What a checkpoint of this version holds, and how its flat values lie. Another one can't be resumed. */
const layout = 'state 2: all A in rows of inputs, all B in rows of outputs';

type Figures = { [K in keyof QloraState as QloraState[K] extends number ? K : never]: number };

/** A state as a checkpoint's header and arrays. Figures are kept as text, because JSON has no NaN and no infinity. */
export function packState(state: QloraState): { header: Record<string, unknown>; arrays: Map<string, Float32Array> } {
  const { parameters, best, alternative, fromAlternative, ended, finished, ...rest } = state;
  const numbers = { ...rest, bestStep: best.step, bestValidation: best.validation };
  const figures = Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, String(value)]));
  const arrays = new Map(Object.entries(parameters));
  const keep = (name: string, pair: FlatFactors | undefined) => {
    if (pair) arrays.set(`${name}.a`, pair.a).set(`${name}.b`, pair.b);
  };
  keep('best', best);
  keep('alternative', alternative);
  for (const [run, pair] of finished.entries()) keep(`${run}`, pair);
  return { header: { layout, figures, fromAlternative, ended, finished: finished.length }, arrays };
}

/** The state of a whole checkpoint, bit for bit; undefined for one of another version. */
export function unpackState(
  { layout: found, figures, fromAlternative, ended, finished }: Readonly<Record<string, unknown>>,
  arrays: ReadonlyMap<string, Float32Array>,
): QloraState | undefined {
  if (found !== layout) return undefined;
  const numbers = Object.entries(figures as Record<string, string>).map(([name, text]) => [name, Number(text)]);
  const { bestStep, bestValidation, ...rest } = Object.fromEntries(numbers) as Figures & Record<string, number>;
  const pair = (name: string | number) => ({ a: arrays.get(`${name}.a`)!, b: arrays.get(`${name}.b`)! });
  return {
    ...rest,
    parameters: Object.fromEntries(parameterNames.map((name) => [name, arrays.get(name)!])) as ParameterState,
    best: { step: bestStep!, validation: bestValidation!, ...pair('best') },
    alternative: arrays.has('alternative.a') ? pair('alternative') : undefined,
    fromAlternative: fromAlternative as boolean,
    ended: ended as QloraState['ended'],
    finished: Array.from({ length: finished as number }, (_, run) => pair(run)),
  };
}
