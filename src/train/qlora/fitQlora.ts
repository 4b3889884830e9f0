import { StoppedError, throwIfStopped } from '../../base/errors.js';
import { releaseMemory } from '../../engine/memory.js';
import { averageFactors, type ModuleFactors } from '../../model/factors.js';
import { figure, type RunContext } from '../lab.js';
import { factorsOf, LoraParameters } from './parameters.js';
import { effort, evaluationEvery, judges, plannedSteps, stepsPerEpoch } from './schedule.js';
import type { QloraEvent, QloraProblem, QloraSettings, QloraState } from './state.js';
import {
  type LoopState,
  type Preparation,
  prepareTraining,
  type RunPlan,
  Training,
  withoutMoments,
} from './training.js';

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
  /** State of an earlier process to go on from. */
  resume?: QloraState;
  /** Called after every step; `state` gives everything that must be saved, which the next step changes. */
  afterStep?: (step: number, state: () => QloraState) => Promise<void>;
  /** Time (of `performance.now`) after which no step begins. */
  deadline?: number;
  /** Told the state (see `afterStep`) that training has ended in: whoever goes on from it trains no step. */
  ended?: (state: QloraState) => Promise<void>;
  /** Told the state of the last whole step when the signal has fired, which stops training within an operation's time. */
  stopped?: (state: QloraState, best: QloraFit) => Promise<void>;
}

/** Learning rate from the alternative, as a share of that from nothing. */
const alternativeRate = 0.5;

/**
 * Trains LoRA factors on frozen weights by gradients: see docs/method.md. The first run finds out, by validation, how long to train;
 * further runs of that length, each in another order, are averaged with it.
 */
export async function fitQlora(
  context: RunContext<QloraEvent>,
  problem: QloraProblem,
  settings: QloraSettings,
  hooks: QloraHooks = {},
): Promise<QloraFit> {
  await using prepared = await prepareTraining(context, problem, settings);
  const runs = new Runs(prepared, problem, settings, hooks);
  try {
    const fit = await runs.all();
    await hooks.ended?.(runs.training.snapshot());
    return fit;
  } catch (error) {
    if (error instanceof StoppedError) await hooks.stopped?.(runs.training.snapshot(), runs.result('stopped'));
    throw error;
  }
}

class Runs {
  readonly training: Training;
  private readonly state: LoopState;
  /** When this process began with the first run, and at which step. */
  private started = performance.now();
  private startedAt = 0;
  private averaged: { runs: number; modules: ModuleFactors[] } | undefined;

  constructor(
    private readonly prepared: Preparation,
    private readonly problem: QloraProblem,
    private readonly settings: QloraSettings,
    private readonly hooks: QloraHooks,
  ) {
    const { parameters } = prepared.context;
    const { resume } = hooks;
    if (!resume) parameters.initialise(settings.seed, problem.alternative ?? problem.start);
    else parameters.restore(resume.parameters);
    if (resume) {
      const { parameters: _, ...state } = resume;
      this.state = state;
    } else {
      this.state = beginning(parameters);
      if (problem.alternative) this.state.alternative = parameters.current();
    }
    this.training = new Training(prepared, settings, this.state, this.firstPlan());
    if (resume) prepared.progress.goOn(this.training);
    if (this.state.run > 0) this.training.plan = this.laterPlan();
  }

  private firstPlan(): RunPlan {
    const { problem, settings } = this;
    const steps = plannedSteps(problem, settings);
    return { seed: settings.seed, learnt: problem.train.length, steps, rate: this.rate };
  }

  /**
   * As long as the first run took to its best state, in epochs. Validation examples have served their purpose, so if the figures
   * come from other examples they are learnt too.
   */
  private laterPlan(): RunPlan {
    const { train } = this.problem;
    const { batch, seed, learnValidation } = this.settings;
    const learnt = learnValidation ? this.prepared.learnable : train.length;
    const { best, begun } = this.state;
    const epochs = (best.step - begun) / stepsPerEpoch(train.length, batch);
    return {
      seed: seed + this.state.run,
      learnt,
      steps: Math.max(1, Math.round(epochs * stepsPerEpoch(learnt, batch))),
      rate: this.rate,
    };
  }

  /** Factors that know something already are changed more gently. */
  private get rate(): number {
    return this.state.fromAlternative ? alternativeRate : 1;
  }

  async all(): Promise<QloraFit> {
    const { state, training } = this;
    let ended = state.ended ?? 'schedule';
    if (state.run === 0) {
      const reason = await this.first();
      if (reason === 'budget') return this.result(reason);
      ended = reason;
      state.ended = ended;
      state.runs = this.runsToDo();
      if (state.runs < 2) return this.result(ended);
      this.begin(1);
    }
    while (state.run < state.runs) {
      if (!(await this.later())) return this.result('budget');
      if (state.run + 1 === state.runs) break;
      this.begin(state.run + 1);
    }
    // The last run's steps are done, and its values among the finished ones.
    this.prepared.progress.finish();
    return (await this.meanIsWorse(training)) ? this.result(ended, 1) : this.result(ended);
  }

  /** How many runs there will be: as many as the effort allows, none if the first found nothing to keep. */
  private runsToDo(): number {
    const { state, settings } = this;
    const { steps } = this.firstPlan();
    const length = state.best.step - state.begun;
    if (length <= 0 || state.rateFactor < 1) return 1;
    const worth = Math.min(settings.runs, 1 + Math.floor((effort * steps - state.step) / length));
    return Math.min(worth, 1 + this.runsInTime(length));
  }

  /** How many further runs of this length end before the deadline, at the pace of the first: one that is cut off is of no use. */
  private runsInTime(steps: number): number {
    const { deadline } = this.hooks;
    if (deadline === undefined) return Number.POSITIVE_INFINITY;
    const now = performance.now();
    const pace = (now - this.started) / Math.max(1, this.state.step - this.startedAt);
    return Math.max(0, Math.floor((deadline - now) / (pace * steps)));
  }

  /** The first run, with validation. */
  private async first(): Promise<Exclude<QloraFit['ended'], 'stopped'>> {
    const { settings, hooks, state, training } = this;
    const { signal } = this.prepared.lab;
    this.started = performance.now();
    this.startedAt = state.step;
    // What measuring and loading took; training takes the same step after step.
    releaseMemory();
    if (state.validated < 0) {
      await training.longestFirst();
      await this.validate();
      if (state.alternative) this.renew(settings.seed);
      await hooks.afterStep?.(0, () => training.snapshot());
    } else if (this.due && state.validated < state.step) {
      // Stopped between a step and its validation.
      await this.validate();
    }
    let ended: Awaited<ReturnType<Runs['first']>> = 'schedule';
    while (training.local < training.plan.steps) {
      throwIfStopped(signal);
      this.weighAlternative();
      if (state.stale > settings.patience) {
        ended = 'validation';
        break;
      }
      if (this.timeIsUp) {
        ended = 'budget';
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
    if (ended === 'budget' && state.validated < state.step) await this.validate();
    return ended;
  }

  private get timeIsUp(): boolean {
    return performance.now() >= (this.hooks.deadline ?? Number.POSITIVE_INFINITY);
  }

  /** One of the later runs. @returns false if time ran out on the way: then nothing of it is kept */
  private async later(): Promise<boolean> {
    const { hooks, state, training } = this;
    while (training.local < training.plan.steps) {
      throwIfStopped(this.prepared.lab.signal);
      if (this.timeIsUp) return false;
      if (!(await training.step())) {
        // A run that diverges is left out of the mean.
        state.runs = state.run + 1;
        return true;
      }
      if (training.local === training.plan.steps) state.finished = [...state.finished, training.values()];
      await hooks.afterStep?.(state.step, () => training.snapshot());
    }
    return true;
  }

  /** Begins run `run` (from 0) with factors and moments as new. */
  private begin(run: number): void {
    const { state, training, settings } = this;
    const { lab, progress } = this.prepared;
    state.run = run;
    state.offset = state.step;
    training.plan = this.laterPlan();
    training.forget();
    this.renew(settings.seed + run);
    progress.runs(state.runs - run, training);
    lab.emit({ type: 'run', run: run + 1, runs: state.runs, step: state.step, steps: training.plan.steps });
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
    const { state, training, settings, problem } = this;
    if (!state.alternative || state.fromAlternative || state.step !== evaluationEvery(problem, settings)) return;
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
    this.prepared.lab.emit({ type: 'restart', step: state.step });
  }

  /** Whether the mean predicts the validation examples, if they were not learnt, worse than the first run's best state does. */
  private async meanIsWorse(training: Training): Promise<boolean> {
    const { state, settings, problem, prepared } = this;
    if (state.finished.length === 0 || settings.learnValidation || problem.validation.length === 0) return false;
    const modules = this.mean();
    const { slots } = prepared.context.parameters;
    const sizes = slots.map((slot, i) => ({ ...slot, rank: modules[i]!.factors.rank }));
    using parameters = LoraParameters.create(prepared.lab.model.engine, sizes, { frozen: true });
    parameters.initialise(0, modules);
    const nll = await training.nll(...judges(problem), parameters);
    const best = nll <= state.best.validation;
    this.tellValidation(nll, best);
    return !best;
  }

  private tellValidation(nll: number, best: boolean): void {
    const { step } = this.state;
    const epoch = step / stepsPerEpoch(this.problem.train.length, this.settings.batch);
    this.prepared.lab.emit({ type: 'validation', step, epoch, nll: figure(nll), best });
  }

  /** The mean of the first run's best state and of what the others have ended in. */
  private mean(): ModuleFactors[] {
    const { state, settings } = this;
    const { slots } = this.prepared.context.parameters;
    const all = [state.best, ...state.finished];
    if (this.averaged?.runs !== all.length) {
      // A linear at a time: as factors all runs together would be copies of all that is trained.
      const of = (slot: (typeof slots)[number]) =>
        averageFactors(
          all.map((flat) => factorsOf([slot], flat)),
          settings.keptRank,
        );
      this.averaged = { runs: all.length, modules: slots.flatMap(of) };
    }
    return this.averaged.modules;
  }

  /** @param runs 1: of the first run alone */
  result(ended: QloraFit['ended'], runs = 1 + this.state.finished.length): QloraFit {
    const { state } = this;
    const { best } = state;
    return {
      modules: runs > 1 ? this.mean() : factorsOf(this.prepared.context.parameters.slots, best),
      best: { step: best.step, validation: best.validation },
      first: state.first,
      steps: state.step,
      runs,
      ended,
    };
  }

  /** Whether the step that was done last is followed by a validation. */
  private get due(): boolean {
    const { local, plan } = this.training;
    return local > 0 && (local % evaluationEvery(this.problem, this.settings) === 0 || local === plan.steps);
  }

  /** Mean NLL of the validation sequences; a new best is remembered. */
  private async validate(): Promise<void> {
    const { state, training } = this;
    const nll = await training.nll(...judges(this.problem));
    const best = Number.isFinite(nll) && !(state.best.validation <= nll);
    state.validated = state.step;
    if (state.step === 0) state.first = nll;
    state.stale = best ? 0 : state.stale + 1;
    if (best) state.best = { step: state.step, validation: nll, ...training.values() };
    this.tellValidation(nll, best);
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
    run: 0,
    runs: 1,
    begun: 0,
    offset: 0,
    fromAlternative: false,
    finished: [],
  };
}
