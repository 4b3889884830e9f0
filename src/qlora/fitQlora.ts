import type { Engine } from '../ggml/engine.js';
import type { Workspace } from '../ggml/workspace.js';
import { type Batch, groupSequences } from '../model/batch.js';
import { linearShape } from '../model/hyperparameters.js';
import { LabelGradient } from '../model/labelGradient.js';
import type { ModuleFactors } from '../model/lora.js';
import type { Model } from '../model/model.js';
import { sharedOpening } from '../model/sharedOpening.js';
import { throwIfStopped } from '../util/errors.js';
import type { ActivationCache } from './activationCache.js';
import { adamwStep } from './adamw.js';
import { planEpoch, type StepPlan } from './batches.js';
import { dropoutMasks } from './dropout.js';
import { enteringActivations } from './enteringActivations.js';
import { factorsOf, LoraParameters } from './parameters.js';
import { rateAt } from './schedule.js';
import type { QloraEvent, QloraSettings, QloraState } from './settings.js';
import { type Entering, ownLengths, type TrainContext, type TrainSequence, trainNodes, trainStep } from './trainStep.js';
import { TrainableLayer } from './trainableLayer.js';

export interface QloraProblem {
  train: readonly TrainSequence[];
  /** Decide which state is kept; none: the last one is. */
  validation: readonly TrainSequence[];
  /** Factors to begin with. */
  start?: readonly ModuleFactors[];
}

export interface QloraFit {
  modules: ModuleFactors[];
  /** Step that was kept, and its NLL on the validation sequences (NaN without). */
  best: { step: number; validation: number };
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
  /** Gives everything up. */
  signal?: AbortSignal;
}

/** β1, β2 and ε of Adam as everyone uses them (Kingma and Ba 2015). */
const adam = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 } as const;
/** Weight of the newest step in the smoothed loss. */
const smoothing = 0.1;
/** The smoothed loss has diverged beyond so many times its lowest value plus so many nats. */
const divergence = { times: 2, plus: 0.5 } as const;
/** Smallest share of the peak learning rate, at the schedule's end. */
const rateFloor = 0;

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
    return await run.run();
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
    const offset = train.length;
    this.opening = sharedOpening(sequences);
    this.lengths = ownLengths(train, this.opening);
    this.validation = groupSequences(
      ownLengths(validation, this.opening),
      settings.microTokens,
    ).map((batch) => ({ ...batch, members: batch.members.map((i) => i + offset) }));
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
        trained * (3 * this.total * perStep + (validation.length > 0 ? evaluations * tokens(validation) : 0)),
    };
  }

  private get evaluationEvery(): number {
    return Math.max(1, Math.round(this.stepsPerEpoch / this.settings.evaluations));
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
      return;
    }
    parameters.initialise(settings.seed, this.problem.start);
    this.state = {
      step: 0,
      best: { step: 0, validation: Number.NaN, ...this.values() },
      stale: 0,
      rateFactor: 1,
      since: 0,
      smoothed: Number.NaN,
      lowest: Number.POSITIVE_INFINITY,
      seconds: 0,
    };
  }

  private values(): { a: Float32Array; b: Float32Array } {
    const { groupA, groupB } = this.context.parameters;
    return { a: groupA.values.toFloat32(), b: groupB.values.toFloat32() };
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
    if (state.step === 0) {
      await this.longestFirst();
      await this.validate();
    }
    let ended: QloraFit['ended'] = 'schedule';
    while (state.step < total) {
      throwIfStopped(signal);
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
      const last = state.step === total;
      if (sound && (state.step % this.evaluationEvery === 0 || last)) await this.validate();
      if (state.stale > settings.patience) {
        ended = 'validation';
        break;
      }
      await hooks.afterStep?.(state.step, () => this.snapshot());
    }
    if (ended !== 'schedule' && ended !== 'divergence' && ended !== 'validation') await this.validate();
    const { best } = state;
    return {
      modules: factorsOf(this.context.parameters.slots, best.a, best.b),
      best: { step: best.step, validation: best.validation },
      steps: state.step,
      ended,
    };
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
    const { context, sequences, settings, state, hooks } = this;
    const step = state.step + 1;
    const { epoch, plan } = this.planOf(step);
    const started = performance.now();
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
    const loss = sum / targets;
    const warmup = Math.max(1, Math.round(settings.warmup * this.total));
    const rate = settings.learningRate * state.rateFactor * rateAt(step, this.total, warmup, rateFloor);
    const scale = settings.rsLora ? settings.alpha / Math.sqrt(settings.rank) : settings.alpha / settings.rank;
    const smoothed = Number.isNaN(state.smoothed) ? loss : state.smoothed + smoothing * (loss - state.smoothed);
    const sound = smoothed <= divergence.times * state.lowest + divergence.plus;
    const norm = sound
      ? await adamwStep(
          this.workspace,
          context.parameters,
          { ...adam, weightDecay: settings.weightDecay, clip: settings.clip },
          // B is stored with the scale folded in (see LoraParameters).
          {
            step: step - state.since,
            scale: -1 / targets,
            rateA: rate,
            rateB: rate * settings.loraPlus * scale,
          },
          hooks.signal,
        )
      : Number.NaN;
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

  /** Back to the best state with half the learning rate; false the second time. */
  private goBack(): boolean {
    const { state, context, hooks, settings } = this;
    if (state.rateFactor < 1) return false;
    const { groupA } = context.parameters;
    const zeros = () => new Float32Array(groupA.values.elements);
    const zerosB = () => new Float32Array(context.parameters.groupB.values.elements);
    context.parameters.restore({
      a: state.best.a,
      b: state.best.b,
      firstA: zeros(),
      firstB: zerosB(),
      secondA: zeros(),
      secondB: zerosB(),
    });
    const loss = state.smoothed;
    state.rateFactor = 0.5;
    state.since = state.step;
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

  /** Mean NLL of the validation sequences; a new best is remembered. Without any, the newest state is the best. */
  private async validate(): Promise<void> {
    const { state, context, sequences, hooks } = this;
    if (this.validation.length === 0) {
      state.best = { step: state.step, validation: Number.NaN, ...this.values() };
      return;
    }
    let [sum, targets] = [0, 0];
    for (const batch of this.validation) {
      const entering = await this.entering(batch);
      const nll = await trainStep(context, batch, sequences, entering, { train: false, signal: hooks.signal });
      for (const value of nll) sum += value;
      targets += nll.length;
      this.advance(batch.lengths.reduce((total, n) => total + n, 0) * context.layers.length);
    }
    const nll = sum / targets;
    const best = Number.isFinite(nll) && !(state.best.validation <= nll);
    state.stale = best ? 0 : state.stale + 1;
    if (best) state.best = { step: state.step, validation: nll, ...this.values() };
    hooks.emit({ type: 'validation', step: state.step, epoch: state.step / this.stepsPerEpoch, nll, best });
  }

  async dispose(): Promise<void> {
    for (const item of this.owned.reverse()) item[Symbol.dispose]();
    await this.cache?.[Symbol.asyncDispose]();
  }
}
