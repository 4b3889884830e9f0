import { sharedOpening } from '../../model/batch.js';
import type { RunContext } from '../lab.js';
import type { QloraEvent, QloraProblem, QloraSettings } from './state.js';
import type { Training } from './training.js';
import { ownLengths, type TrainSequence } from './trainStep.js';

/** How long training takes: epochs, steps and validations of its runs, and how much of them is done. */

/** Training examples that stand in for validation if there is none. */
const standIns = 16;
/** Tokens of general examples for each token that is learnt. */
const replayShare = 0.6;
/** General examples a step, at most: few long examples would be followed by dozens. */
const mostReplayed = 8;
/** All runs together take at most this multiple of the epochs of the first one's schedule. */
export const effort = 1.5;

export function stepsPerEpoch(learnt: number, batch: number): number {
  return Math.ceil(learnt / batch);
}

/** Steps of the first run, if validation does not end it. */
export function plannedSteps({ train }: QloraProblem, { epochs, batch }: QloraSettings): number {
  return Math.max(1, Math.round(epochs * stepsPerEpoch(train.length, batch)));
}

/** Steps of the first run between two validations. */
export function evaluationEvery({ train }: QloraProblem, { batch, evaluations }: QloraSettings): number {
  return Math.max(1, Math.round(stepsPerEpoch(train.length, batch) / evaluations));
}

/** All that training reads: what it learns, what it is judged by, what it is to hold. */
export function allSequences({ train, validation, replay = [] }: QloraProblem): TrainSequence[] {
  return [...train, ...validation, ...replay];
}

/** General examples a step, on average. */
export function replayRate(problem: QloraProblem, { batch }: Pick<QloraSettings, 'batch'>): number {
  const { train, replay = [] } = problem;
  if (replay.length === 0) return 0;
  const opening = sharedOpening(allSequences(problem));
  const mean = (list: readonly TrainSequence[]) =>
    ownLengths(list, opening).reduce((sum, n) => sum + n, 0) / list.length;
  return Math.min(mostReplayed, (replayShare * batch * mean(train)) / mean(replay));
}

/** Which of all sequences, training before validation, decide what is kept: from, to. */
export function judges({ train, validation }: QloraProblem): [number, number] {
  return validation.length > 0
    ? [train.length, train.length + validation.length]
    : [0, Math.min(standIns, train.length)];
}

/** How much is done, in tokens times layers; backward passes count twice. */
export class TrainingProgress {
  private done = 0;
  private total: number;

  private readonly trained: number;
  private readonly below: number;
  private readonly judging: number;

  constructor(
    private readonly context: RunContext<QloraEvent>,
    private readonly problem: QloraProblem,
    private readonly settings: QloraSettings,
  ) {
    const { train, replay = [] } = problem;
    const all = allSequences(problem);
    const opening = sharedOpening(all);
    const tokens = (list: readonly TrainSequence[]) => ownLengths(list, opening).reduce((sum, n) => sum + n, 0);
    const steps = plannedSteps(problem, settings);
    this.trained = context.model.hyper.layers - settings.firstLayer;
    this.below = settings.firstLayer * tokens(all);
    this.judging = this.trained * tokens(all.slice(...judges(problem)));
    const reminded = replay.length === 0 ? 0 : (replayRate(problem, settings) * tokens(replay)) / replay.length;
    this.total =
      this.below +
      this.trained * tokens(replay) +
      3 * this.trained * steps * (tokens(train) / stepsPerEpoch(train.length, settings.batch) + reminded) +
      (1 + Math.floor(steps / evaluationEvery(problem, settings))) * this.judging;
  }

  advance(amount: number): void {
    this.done = Math.min(this.total, this.done + amount);
    this.tell();
  }

  private tell(): void {
    this.context.emit({ type: 'progress', done: this.done, total: this.total });
  }

  /** So many runs are still to come, each as long as the one that begins. */
  runs(count: number, training: Training): void {
    this.total = this.done + count * this.work(training, training.plan.steps);
    this.tell();
  }

  finish(): void {
    this.done = this.total;
    this.tell();
  }

  /** What an earlier process has done of the steps and validations. */
  goOn(training: Training): void {
    const { state } = training;
    if (state.run > 0) {
      // How long the later runs are is known; what came before them need not be known exactly.
      this.done += (state.offset / plannedSteps(this.problem, this.settings)) * (this.total - this.below);
      this.total = Math.max(this.total, this.done);
      return;
    }
    const validations = 1 + Math.floor(Math.max(0, state.validated) / evaluationEvery(this.problem, this.settings));
    this.done += this.work(training, state.step) + validations * this.judging;
  }

  private work(training: Training, steps: number): number {
    let tokens = 0;
    for (let step = 1; step <= steps; step++) {
      const { plan } = training.planOf(step);
      tokens += plan.reduce((sum, { lengths }) => sum + lengths.reduce((total, n) => total + n, 0), 0);
    }
    return 3 * this.trained * tokens;
  }
}
