import { StoppedError, throwIfStopped } from '../../base/errors.js';
import type { Engine } from '../../engine/engine.js';
import { sharedOpening } from '../../model/batch.js';
import { averageFactors, type ModuleFactors } from '../../model/factors.js';
import type { Model } from '../../model/model.js';
import { factorsOf, LoraParameters } from './parameters.js';
import type { QloraEvent, QloraSettings, QloraState } from './state.js';
import {
  type LoopState,
  type Preparation,
  prepareTraining,
  type RunPlan,
  Training,
  withoutMoments,
} from './training.js';
import { ownLengths, type TrainSequence } from './trainStep.js';

export interface QloraProblem {
  train: readonly TrainSequence[];
  /** Decide which state is kept; where there are none, a few of the training examples do. */
  validation: readonly TrainSequence[];
  /** Factors to begin with. */
  start?: readonly ModuleFactors[];
  /**
   * Factors to begin with instead where the first stretch of training without them, up to the first validation, has come to something
   * worse than they are.
   */
  alternative?: readonly ModuleFactors[];
}

export interface QloraFit {
  modules: ModuleFactors[];
  /** Step that was kept (of the first run), and its NLL on the validation sequences (NaN without). */
  best: { step: number; validation: number };
  /** NLL on the validation sequences before the first step. */
  first: number;
  /** Steps done, those of all runs. */
  steps: number;
  /** Runs whose mean the factors are. */
  runs: number;
  /** Why training ended. */
  ended: 'schedule' | 'validation' | 'budget' | 'divergence' | 'stopped';
}

export interface QloraHooks {
  emit: (event: QloraEvent) => void;
  /** State of an earlier process to go on from. */
  resume?: QloraState;
  /** Called after every step; `state` copies everything that must be saved. */
  afterStep?: (step: number, state: () => QloraState) => Promise<void>;
  /** Time (of `performance.now`) after which no step begins. */
  deadline?: number;
  /** Ends training after the step in hand; what is best so far is the result. */
  finish?: AbortSignal;
  /** Stops within an operation's time; `stopped` is then told the state of the last whole step. */
  signal?: AbortSignal;
  stopped?: (state: QloraState, best: QloraFit) => Promise<void>;
}

/** Training examples that stand in for validation where there is none. */
const standIns = 16;
/** All runs together take at most so many times the epochs of the first one's schedule. */
export const effort = 1.5;
/** Learning rate from the alternative, as a share of that from nothing. */
const alternativeRate = 0.5;

/**
 * Trains LoRA factors on frozen weights by gradients: see docs/method.md. The first run finds out, by validation, how long to train;
 * further runs of that length, each in another order, are averaged with it.
 */
export async function fitQlora(
  engine: Engine,
  model: Model,
  problem: QloraProblem,
  settings: QloraSettings,
  hooks: QloraHooks,
): Promise<QloraFit> {
  const sequences = [...problem.train, ...problem.validation];
  const progress = new Progress(model, problem, settings, hooks);
  await using prepared = await prepareTraining(
    engine,
    model,
    sequences,
    settings,
    (tokens) => progress.advance(tokens),
    hooks.signal,
  );
  const runs = new Runs(prepared, problem, settings, hooks, progress);
  try {
    return await runs.all();
  } catch (error) {
    if (error instanceof StoppedError) await hooks.stopped?.(runs.training.snapshot(), runs.result('stopped'));
    throw error;
  }
}

class Runs {
  readonly training: Training;
  private readonly state: LoopState;
  private readonly judges: [number, number];
  /** When this process began with the first run, and at which step. */
  private started = performance.now();
  private startedAt = 0;

  constructor(
    private readonly prepared: Preparation,
    private readonly problem: QloraProblem,
    private readonly settings: QloraSettings,
    private readonly hooks: QloraHooks,
    private readonly progress: Progress,
  ) {
    const { train, validation } = problem;
    const { parameters } = prepared.context;
    const { resume } = hooks;
    this.judges =
      validation.length > 0 ? [train.length, prepared.sequences.length] : [0, Math.min(standIns, train.length)];
    if (!resume) parameters.initialise(settings.seed, problem.alternative ?? problem.start);
    else parameters.restore(resume.parameters);
    if (resume) {
      const { parameters: _, ...state } = resume;
      this.state = state;
    } else {
      this.state = beginning(parameters);
      if (problem.alternative) this.state.alternative = parameters.current();
    }
    const advance = (amount: number) => progress.advance(amount);
    this.training = new Training(prepared, settings, this.state, this.firstPlan(), hooks, advance);
    if (resume) this.progress.goOn(this.training, this.firstPlan());
    if (this.state.run > 0) this.training.plan = this.laterPlan();
  }

  private firstPlan(): RunPlan {
    const { train } = this.problem;
    const { batch, epochs, seed } = this.settings;
    const steps = Math.max(1, Math.round(epochs * Math.ceil(train.length / batch)));
    return { seed, learnt: train.length, steps, rate: this.rate };
  }

  /**
   * As long as the first run took to its best state, in epochs. Validation examples have told what they had to tell, so where the
   * figures come from other examples they are learnt too.
   */
  private laterPlan(): RunPlan {
    const { train } = this.problem;
    const { batch, seed, learnValidation } = this.settings;
    const learnt = learnValidation ? this.prepared.sequences.length : train.length;
    const { best, begun } = this.state;
    const epochs = (best.step - begun) / Math.ceil(train.length / batch);
    return {
      seed: seed + this.state.run,
      learnt,
      steps: Math.max(1, Math.round(epochs * Math.ceil(learnt / batch))),
      rate: this.rate,
    };
  }

  /** Factors that know something already are changed more gently. */
  private get rate(): number {
    return this.state.fromAlternative ? alternativeRate : 1;
  }

  async all(): Promise<QloraFit> {
    const { state, training } = this;
    let ended: QloraFit['ended'] = state.ended ?? 'schedule';
    if (state.run === 0) {
      ended = await this.first();
      if (ended === 'budget' || ended === 'stopped') return this.result(ended);
      state.ended = ended;
      state.runs = this.runsToDo();
      if (state.runs < 2) return this.result(ended);
      this.begin(1);
    }
    while (state.run < state.runs) {
      const early = await this.later();
      if (early) return this.result(early);
      if (state.run + 1 === state.runs) break;
      this.begin(state.run + 1);
    }
    // The last run's steps are done, and its values among the finished ones.
    this.progress.finish();
    return (await this.meanIsWorse(training)) ? this.result(ended, 1) : this.result(ended);
  }

  /** How many runs there will be: as many as the effort allows, none where the first found nothing to keep. */
  private runsToDo(): number {
    const { state, settings } = this;
    const { steps } = this.firstPlan();
    const length = state.best.step - state.begun;
    if (length <= 0 || state.rateFactor < 1) return 1;
    const worth = Math.min(settings.runs, 1 + Math.floor((effort * steps - state.step) / length));
    return Math.min(worth, 1 + this.runsInTime(length));
  }

  /** How many further runs of so many steps end before the deadline, at the pace of the first: one that is cut off is of no use. */
  private runsInTime(steps: number): number {
    const { deadline } = this.hooks;
    if (deadline === undefined) return Number.POSITIVE_INFINITY;
    const now = performance.now();
    const pace = (now - this.started) / Math.max(1, this.state.step - this.startedAt);
    return Math.max(0, Math.floor((deadline - now) / (pace * steps)));
  }

  /** The first run, with validation. */
  private async first(): Promise<QloraFit['ended']> {
    const { settings, hooks, state, training } = this;
    this.started = performance.now();
    this.startedAt = state.step;
    if (state.validated < 0) {
      await training.longestFirst();
      await this.validate();
      if (state.alternative) this.renew(settings.seed);
      await hooks.afterStep?.(0, () => training.snapshot());
    } else if (this.due && state.validated < state.step) {
      // Stopped between a step and its validation.
      await this.validate();
    }
    let ended: QloraFit['ended'] = 'schedule';
    while (training.local < training.plan.steps) {
      throwIfStopped(hooks.signal);
      this.weighAlternative();
      if (state.stale > settings.patience) {
        ended = 'validation';
        break;
      }
      const early = this.early();
      if (early) {
        ended = early;
        break;
      }
      const sound = await training.step();
      if (!sound && !training.goBack()) {
        ended = 'divergence';
        break;
      }
      if (sound && this.due) await this.validate();
      await hooks.afterStep?.(state.step, () => training.snapshot());
    }
    if ((ended === 'budget' || ended === 'stopped') && state.validated < state.step) await this.validate();
    return ended;
  }

  private early(): 'stopped' | 'budget' | undefined {
    const { finish, deadline } = this.hooks;
    if (finish?.aborted) return 'stopped';
    if (deadline !== undefined && performance.now() >= deadline) return 'budget';
    return undefined;
  }

  /** One of the later runs. What is told is why it ended before its time: then nothing of it is kept. */
  private async later(): Promise<'stopped' | 'budget' | undefined> {
    const { hooks, state, training } = this;
    while (training.local < training.plan.steps) {
      throwIfStopped(hooks.signal);
      const early = this.early();
      if (early) return early;
      if (!(await training.step())) {
        // A run that diverges is left out of the mean.
        state.runs = state.run + 1;
        return undefined;
      }
      if (training.local === training.plan.steps) state.finished = [...state.finished, training.values()];
      await hooks.afterStep?.(state.step, () => training.snapshot());
    }
    return undefined;
  }

  /** Begins run `run` (from 0) with factors and moments as new. */
  private begin(run: number): void {
    const { state, training, settings, hooks } = this;
    state.run = run;
    state.offset = state.step;
    training.plan = this.laterPlan();
    training.forget();
    this.renew(settings.seed + run);
    this.progress.runs(state.runs - run, training);
    hooks.emit({ type: 'run', run: run + 1, runs: state.runs, step: state.step, steps: training.plan.steps });
  }

  /** Factors and moments as at the beginning of a run. */
  private renew(seed: number): void {
    const { parameters } = this.prepared.context;
    const { alternative, fromAlternative } = this.state;
    parameters.clear();
    if (alternative && fromAlternative) parameters.restore(withoutMoments(alternative));
    else parameters.initialise(seed, this.problem.start);
  }

  /** After the first stretch: begins again from the alternative if training without it came to less. */
  private weighAlternative(): void {
    const { state, training, settings, hooks } = this;
    if (!state.alternative || state.fromAlternative || state.step !== this.evaluationEvery) return;
    if (state.best.step > 0) {
      state.alternative = undefined;
      return;
    }
    state.fromAlternative = true;
    state.begun = state.step;
    state.offset = state.step;
    training.plan = this.firstPlan();
    training.forget();
    this.renew(settings.seed);
    hooks.emit({ type: 'restart', step: state.step });
  }

  /** Whether the validation examples, where they were not learnt, are predicted worse by the mean than by the first run's best. */
  private async meanIsWorse(training: Training): Promise<boolean> {
    const { state, settings, problem, prepared } = this;
    if (state.finished.length === 0 || settings.learnValidation || problem.validation.length === 0) return false;
    const modules = this.mean();
    const { slots } = prepared.context.parameters;
    const sizes = slots.map((slot, i) => ({ ...slot, rank: modules[i]!.factors.rank }));
    using parameters = LoraParameters.create(prepared.engine, sizes);
    parameters.initialise(0, modules);
    const nll = await training.nll(...this.judges, parameters);
    const best = nll <= state.best.validation;
    this.hooks.emit({ type: 'validation', step: state.step, epoch: this.epoch, nll, best });
    return !best;
  }

  private get epoch(): number {
    return this.state.step / Math.ceil(this.problem.train.length / this.settings.batch);
  }

  private mean(): ModuleFactors[] {
    const { state, settings } = this;
    const { slots } = this.prepared.context.parameters;
    const all = [state.best, ...state.finished].map(({ a, b }) => factorsOf(slots, a, b));
    return all.length === 1 ? all[0]! : averageFactors(all, settings.keptRank);
  }

  /** @param runs 1: of the first run alone */
  result(ended: QloraFit['ended'], runs = 1 + this.state.finished.length): QloraFit {
    const { state } = this;
    const { best } = state;
    return {
      modules: runs > 1 ? this.mean() : factorsOf(this.prepared.context.parameters.slots, best.a, best.b),
      best: { step: best.step, validation: best.validation },
      first: state.first,
      steps: state.step,
      runs,
      ended,
    };
  }

  private get evaluationEvery(): number {
    return Math.max(
      1,
      Math.round(Math.ceil(this.problem.train.length / this.settings.batch) / this.settings.evaluations),
    );
  }

  /** Whether the step that was done last is followed by a validation. */
  private get due(): boolean {
    const { local, plan } = this.training;
    return local > 0 && (local % this.evaluationEvery === 0 || local === plan.steps);
  }

  /** Mean NLL of the validation sequences; a new best is remembered. */
  private async validate(): Promise<void> {
    const { state, training, hooks } = this;
    const nll = await training.nll(...this.judges);
    const best = Number.isFinite(nll) && !(state.best.validation <= nll);
    state.validated = state.step;
    if (state.step === 0) state.first = nll;
    state.stale = best ? 0 : state.stale + 1;
    if (best) state.best = { step: state.step, validation: nll, ...training.values() };
    hooks.emit({ type: 'validation', step: state.step, epoch: this.epoch, nll, best });
  }
}

function beginning(parameters: LoraParameters): LoopState {
  return {
    step: 0,
    best: { step: 0, validation: Number.NaN, ...parameters.current() },
    first: Number.NaN,
    validated: -1,
    stale: 0,
    rateFactor: 1,
    since: 0,
    smoothed: Number.NaN,
    lowest: Number.POSITIVE_INFINITY,
    seconds: 0,
    run: 0,
    runs: 1,
    begun: 0,
    offset: 0,
    fromAlternative: false,
    finished: [],
  };
}

/** How much is done, in tokens times layers; backward passes count twice. */
class Progress {
  private done = 0;
  private total: number;

  constructor(
    model: Model,
    private readonly problem: QloraProblem,
    private readonly settings: QloraSettings,
    private readonly hooks: QloraHooks,
  ) {
    const { train, validation } = problem;
    this.opening = sharedOpening([...train, ...validation]);
    this.trained = model.hyper.layers - settings.firstLayer;
    const judges = validation.length > 0 ? validation : train.slice(0, standIns);
    const perEpoch = Math.ceil(train.length / settings.batch);
    const steps = Math.max(1, Math.round(settings.epochs * perEpoch));
    const every = Math.max(1, Math.round(perEpoch / settings.evaluations));
    this.below = settings.firstLayer * this.tokens([...train, ...validation]);
    this.judging = this.trained * this.tokens(judges);
    this.total =
      this.below +
      (3 * this.trained * steps * this.tokens(train)) / perEpoch +
      (1 + Math.floor(steps / every)) * this.judging;
  }
  private readonly opening: number;
  private readonly trained: number;
  private readonly below: number;
  private readonly judging: number;

  private tokens(list: readonly TrainSequence[]): number {
    return ownLengths(list, this.opening).reduce((sum, n) => sum + n, 0);
  }

  advance(amount: number): void {
    this.done = Math.min(this.total, this.done + amount);
    this.tell();
  }

  private tell(): void {
    this.hooks.emit({ type: 'progress', done: this.done, total: this.total });
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
  goOn(training: Training, plan: RunPlan): void {
    const { state } = training;
    const perEpoch = Math.ceil(this.problem.train.length / this.settings.batch);
    const every = Math.max(1, Math.round(perEpoch / this.settings.evaluations));
    if (state.run > 0) {
      // How long the later runs are is known; what came before them is a share that nobody needs to know exactly.
      this.done += (state.offset / plan.steps) * (this.total - this.below);
      this.total = Math.max(this.total, this.done);
      return;
    }
    const validations = 1 + Math.floor(Math.max(0, state.validated) / every);
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
