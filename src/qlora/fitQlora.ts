import type { Engine } from '../ggml/engine.js';
import type { Workspace } from '../ggml/workspace.js';
import { type Batch, groupSequences } from '../model/batch.js';
import { linearShape } from '../model/hyperparameters.js';
import { LabelGradient } from '../model/labelGradient.js';
import type { ModuleFactors } from '../model/lora.js';
import type { Model } from '../model/model.js';
import { sharedOpening } from '../model/sharedOpening.js';
import { StoppedError, throwIfStopped } from '../util/errors.js';
import type { ActivationCache } from './activationCache.js';
import { adamwStep } from './adamw.js';
import { planEpoch, type StepPlan } from './batches.js';
import { dropoutMasks } from './dropout.js';
import { enteringActivations } from './enteringActivations.js';
import { factorsOf, LoraParameters } from './parameters.js';
import { rateAt } from './schedule.js';
import type { QloraEvent, QloraSettings, QloraState } from './settings.js';
import { TrainableLayer } from './trainableLayer.js';
import {
  type Entering,
  ownLengths,
  type TrainContext,
  type TrainSequence,
  trainNodes,
  trainStep,
} from './trainStep.js';

export interface QloraProblem {
  train: readonly TrainSequence[];
  /** Decide which state is kept; where there are none, a few of the training examples do. */
  validation: readonly TrainSequence[];
  /** Factors to begin with. */
  start?: readonly ModuleFactors[];
}

export interface QloraFit {
  modules: ModuleFactors[];
  /** Step that was kept, and its NLL on the validation sequences (NaN without). */
  best: { step: number; validation: number };
  /** NLL on the validation sequences before the first step. */
  first: number;
  /** Steps done. */
  steps: number;
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

/** β1, β2 and ε of Adam as everyone uses them (Kingma and Ba 2015). */
const adam = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 } as const;
/** Weight of the newest step in the smoothed loss. */
const smoothing = 0.1;
/** The smoothed loss has diverged beyond so many times its lowest value plus so many nats. */
const divergence = { times: 2, plus: 0.5 } as const;

/** Training examples that stand in for validation where there is none. */
const standIns = 16;

/** Trains LoRA factors on frozen weights by gradients: see docs/method.md. */
export async function fitQlora(
  engine: Engine,
  model: Model,
  problem: QloraProblem,
  settings: QloraSettings,
  hooks: QloraHooks,
): Promise<QloraFit> {
  const sequences = [...problem.train, ...problem.validation];
  const longest = sequences.reduce((most, { tokens }) => Math.max(most, tokens.length), 0);
  const trained = model.hyper.layers - settings.firstLayer;
  using workspace = engine.workspace(trainNodes(trained, longest));
  const run = new Training(engine, model, workspace, problem, sequences, settings, hooks);
  try {
    await run.prepare();
    try {
      return await run.run();
    } catch (error) {
      if (error instanceof StoppedError) await run.stopped();
      throw error;
    }
  } finally {
    await run.dispose();
  }
}

class Training {
  private cache: ActivationCache | undefined;
  private context!: TrainContext;
  private readonly owned: Disposable[] = [];
  private state!: Omit<QloraState, 'parameters'>;
  private readonly validation: Batch[];
  private readonly opening: number;
  /** Tokens of the training sequences, without the shared opening. */
  private readonly lengths: readonly number[];
  private readonly stepsPerEpoch: number;
  private readonly total: number;
  private readonly started = performance.now();
  private readonly work: { done: number; total: number };

  constructor(
    private readonly engine: Engine,
    private readonly model: Model,
    private readonly workspace: Workspace,
    private readonly problem: QloraProblem,
    private readonly sequences: readonly TrainSequence[],
    private readonly settings: QloraSettings,
    private readonly hooks: QloraHooks,
  ) {
    const { train, validation } = problem;
    this.opening = sharedOpening(sequences);
    this.lengths = ownLengths(train, this.opening);
    const [judges, offset] = validation.length > 0 ? [validation, train.length] : [train.slice(0, standIns), 0];
    this.validation = groupSequences(ownLengths(judges, this.opening), settings.microTokens).map((batch) => ({
      ...batch,
      members: batch.members.map((i) => i + offset),
    }));
    this.stepsPerEpoch = Math.ceil(train.length / settings.batch);
    this.total = Math.max(1, Math.round(settings.epochs * this.stepsPerEpoch));
    const tokens = (list: readonly TrainSequence[]) => ownLengths(list, this.opening).reduce((sum, n) => sum + n, 0);
    const trained = model.hyper.layers - settings.firstLayer;
    const perStep = tokens(train) / this.stepsPerEpoch;
    const evaluations = 1 + Math.floor(this.total / this.evaluationEvery);
    this.work = {
      done: 0,
      total:
        settings.firstLayer * tokens(this.sequences) +
        trained * (3 * this.total * perStep + evaluations * tokens(judges)),
    };
  }

  private get evaluationEvery(): number {
    return Math.max(1, Math.round(this.stepsPerEpoch / this.settings.evaluations));
  }

  /** What an earlier process has done of the steps and validations. */
  private earlierWork(): number {
    const trained = this.context.layers.length;
    let done = 0;
    for (let step = 1; step <= this.state.step; step++) {
      const { plan } = this.planOf(step);
      done += 3 * trained * plan.reduce((sum, { lengths }) => sum + lengths.reduce((total, n) => total + n, 0), 0);
    }
    const validations = 1 + Math.floor(Math.max(0, this.state.validated) / this.evaluationEvery);
    const judged = this.validation.reduce((sum, { lengths }) => sum + lengths.reduce((total, n) => total + n, 0), 0);
    return done + trained * validations * judged;
  }

  /** Whether the step that was done last is followed by a validation. */
  private get due(): boolean {
    const { step } = this.state;
    return step > 0 && (step % this.evaluationEvery === 0 || step === this.total);
  }

  private advance(amount: number): void {
    this.work.done = Math.min(this.work.total, this.work.done + amount);
    this.hooks.emit({ type: 'progress', ...this.work });
  }

  async prepare(): Promise<void> {
    const { engine, model, workspace, settings, hooks, sequences } = this;
    const { signal } = hooks;
    const { layers } = model.hyper;
    if (settings.firstLayer > 0) {
      const onBatch = (tokens: number) => this.advance(tokens);
      this.cache = await enteringActivations(
        model,
        workspace,
        sequences,
        { firstLayer: settings.firstLayer, opening: this.opening },
        onBatch,
        signal,
      );
    }
    const own = <T extends Disposable>(item: T) => {
      this.owned.push(item);
      return item;
    };
    const trainable: TrainableLayer[] = [];
    for (let l = settings.firstLayer; l < layers; l++) {
      throwIfStopped(signal);
      trainable.push(own(await TrainableLayer.load(model, workspace, l, settings.transposedType, signal)));
    }
    const head = own(await model.head());
    const labels = own(await LabelGradient.create(model, workspace, head, signal));
    const modules = trainable.flatMap(({ index }) =>
      settings.modules.map((module) => {
        const [inputs, outputs] = linearShape(model.hyper, module);
        return { layer: index, module, inputs, outputs, rank: Math.min(settings.rank, inputs, outputs) };
      }),
    );
    const parameters = own(LoraParameters.create(engine, modules));
    this.context = {
      model,
      workspace,
      layers: trainable,
      parameters,
      labels,
      recompute: settings.recompute,
      opening: this.opening,
    };
    if (hooks.resume) {
      const { parameters: saved, ...state } = hooks.resume;
      parameters.restore(saved);
      this.state = state;
      this.work.done += this.earlierWork();
      return;
    }
    parameters.initialise(settings.seed, this.problem.start);
    this.state = {
      step: 0,
      best: { step: 0, validation: Number.NaN, ...this.values() },
      first: Number.NaN,
      validated: -1,
      stale: 0,
      rateFactor: 1,
      since: 0,
      smoothed: Number.NaN,
      lowest: Number.POSITIVE_INFINITY,
      seconds: 0,
    };
  }

  /** The adapter as it would be kept: the mean over the last steps. */
  private values(): { a: Float32Array; b: Float32Array } {
    const { groupA, groupB } = this.context.parameters;
    return { a: groupA.average.toFloat32(), b: groupB.average.toFloat32() };
  }

  private snapshot(): QloraState {
    return {
      ...this.state,
      parameters: this.context.parameters.state(),
      seconds: this.state.seconds + (performance.now() - this.started) / 1000,
    };
  }

  async run(): Promise<QloraFit> {
    const { settings, hooks, state, total } = this;
    const { signal } = hooks;
    if (state.validated < 0) {
      await this.longestFirst();
      await this.validate();
      await hooks.afterStep?.(0, () => this.snapshot());
    } else if (this.due && state.validated < state.step) {
      // Stopped between a step and its validation.
      await this.validate();
    }
    let ended: QloraFit['ended'] = 'schedule';
    while (state.step < total) {
      throwIfStopped(signal);
      if (state.stale > settings.patience) {
        ended = 'validation';
        break;
      }
      if (hooks.finish?.aborted) {
        ended = 'stopped';
        break;
      }
      if (hooks.deadline !== undefined && performance.now() >= hooks.deadline) {
        ended = 'budget';
        break;
      }
      const sound = await this.step();
      if (!sound && !this.goBack()) {
        ended = 'divergence';
        break;
      }
      if (sound && this.due) await this.validate();
      await hooks.afterStep?.(state.step, () => this.snapshot());
    }
    const early = ended === 'budget' || ended === 'stopped';
    if (early && state.validated < state.step) await this.validate();
    if (settings.learnValidation && (ended === 'schedule' || ended === 'validation')) await this.learnValidation();
    return this.result(ended);
  }

  /** Tells the state of the last whole step, which a stop in the middle of one has not touched. */
  async stopped(): Promise<void> {
    await this.hooks.stopped?.(this.snapshot(), this.result('stopped'));
  }

  private result(ended: QloraFit['ended']): QloraFit {
    const { state } = this;
    const { best } = state;
    return {
      modules: factorsOf(this.context.parameters.slots, best.a, best.b),
      best: { step: best.step, validation: best.validation },
      first: state.first,
      steps: state.step,
      ended,
    };
  }

  /**
   * The validation examples have chosen the state to keep; now they are learnt as well, as often as the others were until then. What
   * comes out can't be validated any more, so this is for those who measure on other examples.
   */
  private async learnValidation(): Promise<void> {
    const { state, settings, problem } = this;
    const { train, validation } = problem;
    if (validation.length === 0 || state.best.step === 0) return;
    this.restoreBest();
    const lengths = ownLengths(validation, this.opening);
    const passes = Math.max(1, Math.round(state.best.step / this.stepsPerEpoch));
    const rate = this.rate(state.best.step);
    let step = 0;
    for (let epoch = 0; epoch < passes; epoch++) {
      const { batch, microTokens, seed } = settings;
      for (const plan of planEpoch(lengths, { batch, tokens: microTokens, seed, epoch })) {
        const moved = plan.map((group) => ({ ...group, members: group.members.map((i) => i + train.length) }));
        const { targets, sum } = await this.gradients(moved, state.step + ++step);
        await this.optimise(step, targets, rate);
        if (!Number.isFinite(sum)) return;
      }
    }
    state.best = { ...state.best, ...this.values() };
  }

  /** Computes the largest batch once, before anything is learnt: memory runs out now or never. */
  private async longestFirst(): Promise<void> {
    const { context, sequences, settings } = this;
    const groups = groupSequences(this.lengths, settings.microTokens);
    const size = ({ length, members }: Batch) => length * members.length;
    const largest = groups.reduce((most, group) => (size(group) > size(most) ? group : most));
    await trainStep(context, largest, sequences, await this.entering(largest), {
      train: true,
      signal: this.hooks.signal,
    });
    context.parameters.zeroGradients();
  }

  private async entering(batch: Batch): Promise<Entering> {
    if (!this.cache) return undefined;
    return {
      opening: this.opening > 0 ? this.cache.opening : undefined,
      own: await this.cache.gather(batch.members, batch.length),
    };
  }

  private planned: { epoch: number; steps: StepPlan[] } | undefined;
  private planOf(step: number): { epoch: number; plan: StepPlan } {
    const epoch = Math.floor((step - 1) / this.stepsPerEpoch);
    if (this.planned?.epoch !== epoch) {
      const { batch, microTokens, seed } = this.settings;
      this.planned = { epoch, steps: planEpoch(this.lengths, { batch, tokens: microTokens, seed, epoch }) };
    }
    return { epoch, plan: this.planned.steps[(step - 1) % this.stepsPerEpoch]! };
  }

  /** One optimiser step; false where it left the numbers that make sense. */
  private async step(): Promise<boolean> {
    const { state, hooks } = this;
    const step = state.step + 1;
    const { epoch, plan } = this.planOf(step);
    const started = performance.now();
    const { sum, targets, tokens } = await this.gradients(plan, step);
    const loss = sum / targets;
    const rate = this.rate(step);
    const smoothed = Number.isNaN(state.smoothed) ? loss : state.smoothed + smoothing * (loss - state.smoothed);
    const sound = smoothed <= divergence.times * state.lowest + divergence.plus;
    const norm = sound ? await this.optimise(step - state.since, targets, rate) : Number.NaN;
    state.step = step;
    state.smoothed = smoothed;
    state.lowest = Math.min(state.lowest, smoothed);
    hooks.emit({
      type: 'step',
      step,
      steps: this.total,
      epoch: epoch + 1,
      loss,
      learningRate: rate,
      gradientNorm: norm,
      tokensPerSecond: (1000 * tokens) / (performance.now() - started),
    });
    return Number.isFinite(norm);
  }

  /** Adds up the gradients of one step's examples; its loss and sizes. */
  private async gradients(plan: StepPlan, step: number): Promise<{ sum: number; targets: number; tokens: number }> {
    const { context, sequences, settings, hooks } = this;
    let [sum, targets, tokens] = [0, 0, 0];
    let next = this.entering(plan[0]!);
    for (const [micro, batch] of plan.entries()) {
      const entering = await next;
      // Read while this batch is computed. A failed read is reported when its turn comes.
      if (micro + 1 < plan.length) {
        next = this.entering(plan[micro + 1]!);
        next.catch(() => {});
      }
      const masks =
        settings.dropout > 0
          ? dropoutMasks(this.model.hyper, settings.modules, settings.dropout, { seed: settings.seed, step, micro })
          : undefined;
      const nll = await trainStep(context, batch, sequences, entering, { train: true, masks, signal: hooks.signal });
      for (const value of nll) sum += value;
      targets += nll.length;
      const amount = batch.lengths.reduce((total, n) => total + n, 0);
      // As everyone counts: the tokens of the examples, however many of them had to be computed.
      tokens += amount + batch.members.length * this.opening;
      this.advance(3 * amount * context.layers.length);
    }
    return { sum, targets, tokens };
  }

  private rate(step: number): number {
    const { settings, state, total } = this;
    const warmup = Math.round(settings.warmup * total);
    return settings.learningRate * state.rateFactor * rateAt(step, total, warmup, settings.rateFloor);
  }

  /** @param step counts from 1 since the moments were zero @returns the gradient's norm */
  private optimise(step: number, targets: number, rate: number): Promise<number> {
    const { settings, context, workspace, hooks } = this;
    const scale = settings.rsLora ? settings.alpha / Math.sqrt(settings.rank) : settings.alpha / settings.rank;
    return adamwStep(
      workspace,
      context.parameters,
      { ...adam, weightDecay: settings.weightDecay, clip: settings.clip, averaging: settings.averaging },
      // B is stored with the scale folded in (see LoraParameters).
      { step, scale: -1 / targets, rateA: rate, rateB: rate * settings.loraPlus * scale },
      hooks.signal,
    );
  }

  /** Best factors, moments of zero. */
  private restoreBest(): void {
    const { groupA, groupB } = this.context.parameters;
    const { best } = this.state;
    const zerosA = () => new Float32Array(groupA.values.elements);
    const zerosB = () => new Float32Array(groupB.values.elements);
    this.context.parameters.restore({
      a: best.a,
      b: best.b,
      firstA: zerosA(),
      firstB: zerosB(),
      secondA: zerosA(),
      secondB: zerosB(),
      averageA: best.a,
      averageB: best.b,
    });
  }

  /** Back to the best state with half the learning rate; false the second time. */
  private goBack(): boolean {
    const { state, hooks, settings } = this;
    if (state.rateFactor < 1) return false;
    this.restoreBest();
    const loss = state.smoothed;
    state.rateFactor = 0.5;
    state.since = state.step;
    // There is nothing of the step that was left to validate.
    state.validated = state.step;
    state.stale = 0;
    state.smoothed = Number.NaN;
    state.lowest = Number.POSITIVE_INFINITY;
    hooks.emit({
      type: 'diverged',
      step: state.step,
      loss,
      backTo: state.best.step,
      learningRate: settings.learningRate * state.rateFactor,
    });
    return true;
  }

  /** Mean NLL of the validation sequences; a new best is remembered. */
  private async validate(): Promise<void> {
    const { state, context, sequences, hooks } = this;
    let [sum, targets] = [0, 0];
    for (const batch of this.validation) {
      const entering = await this.entering(batch);
      const nll = await trainStep(context, batch, sequences, entering, {
        train: false,
        averaged: true,
        signal: hooks.signal,
      });
      for (const value of nll) sum += value;
      targets += nll.length;
      this.advance(batch.lengths.reduce((total, n) => total + n, 0) * context.layers.length);
    }
    const nll = sum / targets;
    const best = Number.isFinite(nll) && !(state.best.validation <= nll);
    state.validated = state.step;
    if (state.step === 0) state.first = nll;
    state.stale = best ? 0 : state.stale + 1;
    if (best) state.best = { step: state.step, validation: nll, ...this.values() };
    hooks.emit({ type: 'validation', step: state.step, epoch: state.step / this.stepsPerEpoch, nll, best });
  }

  async dispose(): Promise<void> {
    for (const item of this.owned.reverse()) item[Symbol.dispose]();
    await this.cache?.[Symbol.asyncDispose]();
  }
}
