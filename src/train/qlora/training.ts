import { throwIfStopped } from '../../base/errors.js';
import type { Engine } from '../../engine/engine.js';
import type { Workspace } from '../../engine/graph.js';
import { type Batch, groupSequences, sharedOpening } from '../../model/batch.js';
import { linearShape } from '../../model/hyperparameters.js';
import { LabelGradient } from '../../model/labelGradient.js';
import type { Model } from '../../model/model.js';
import { type ActivationCache, enteringActivations } from './activations.js';
import { adamwStep, dropoutMasks, planEpoch, rateAt, type StepPlan } from './optimiser.js';
import { LoraParameters, type ParameterState } from './parameters.js';
import type { QloraEvent, QloraSettings, QloraState } from './state.js';
import {
  type Entering,
  ownLengths,
  TrainableLayer,
  type TrainContext,
  type TrainSequence,
  trainNodes,
  trainStep,
} from './trainStep.js';

/** β1, β2 and ε of Adam as everyone uses them (Kingma and Ba 2015). */
const adam = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 } as const;
/** Weight of the newest step in the smoothed loss. */
const smoothing = 0.1;
/** The smoothed loss has diverged beyond so many times its lowest value plus so many nats. */
const divergence = { times: 2, plus: 0.5 } as const;

/** One run: which of the sequences it learns, for how long. */
export interface RunPlan {
  seed: number;
  /** The first so many sequences are learnt. */
  learnt: number;
  steps: number;
  /** Factor of the learning rate. */
  rate: number;
}

/** The state of training without the factors, which are in native memory. */
export type LoopState = Omit<QloraState, 'parameters'>;

/** The steps of training by gradients, and what they change. */
export class Training {
  private readonly lengths: readonly number[];
  private planned: { run: number; epoch: number; steps: StepPlan[] } | undefined;
  private readonly since = performance.now();

  constructor(
    private readonly prepared: Preparation,
    private readonly settings: QloraSettings,
    readonly state: LoopState,
    public plan: RunPlan,
    private readonly hooks: { emit: (event: QloraEvent) => void; signal?: AbortSignal },
    private readonly advance: (amount: number) => void,
  ) {
    this.lengths = ownLengths(prepared.sequences, prepared.context.opening);
  }

  /** Steps done of the run in hand. */
  get local(): number {
    return this.state.step - this.state.offset;
  }
  get stepsPerEpoch(): number {
    return Math.ceil(this.plan.learnt / this.settings.batch);
  }

  private get peak(): number {
    return this.settings.learningRate * this.plan.rate * this.state.rateFactor;
  }

  /** The adapter as it would be kept: the mean over the last steps. */
  values(): { a: Float32Array; b: Float32Array } {
    return this.prepared.context.parameters.current();
  }

  snapshot(): QloraState {
    return {
      ...this.state,
      parameters: this.prepared.context.parameters.state(),
      seconds: this.state.seconds + (performance.now() - this.since) / 1000,
    };
  }

  /** Computes the largest batch once, before anything is learnt: memory runs out now or never. */
  async longestFirst(): Promise<void> {
    const { context, sequences } = this.prepared;
    const groups = groupSequences(this.lengths.slice(0, this.plan.learnt), this.settings.microTokens);
    const size = ({ length, members }: Batch) => length * members.length;
    const largest = groups.reduce((most, group) => (size(group) > size(most) ? group : most));
    const { signal } = this.hooks;
    await trainStep(context, largest, sequences, await this.entering(largest), { train: true, signal });
    context.parameters.zeroGradients();
  }

  /** The examples of a step of the run in hand, counted from 1. */
  planOf(step: number): { epoch: number; plan: StepPlan } {
    const epoch = Math.floor((step - 1) / this.stepsPerEpoch);
    const { run } = this.state;
    if (this.planned?.epoch !== epoch || this.planned.run !== run) {
      const { batch, microTokens } = this.settings;
      const { seed, learnt } = this.plan;
      const steps = planEpoch(this.lengths.slice(0, learnt), { batch, tokens: microTokens, seed, epoch });
      this.planned = { run, epoch, steps };
    }
    return { epoch, plan: this.planned.steps[(step - 1) % this.stepsPerEpoch]! };
  }

  /** One optimiser step; false where it left the numbers that make sense. */
  async step(): Promise<boolean> {
    const { state, plan, settings } = this;
    const step = this.local + 1;
    const { epoch, plan: batches } = this.planOf(step);
    const started = performance.now();
    const { sum, targets, tokens } = await this.gradients(batches, step);
    const loss = sum / targets;
    const warmup = Math.round(settings.warmup * plan.steps);
    const rate = this.peak * rateAt(step, plan.steps, warmup, settings.rateFloor);
    const smoothed = Number.isNaN(state.smoothed) ? loss : state.smoothed + smoothing * (loss - state.smoothed);
    const sound = smoothed <= divergence.times * state.lowest + divergence.plus;
    const norm = sound ? await this.optimise(state.step + 1 - state.since, targets, rate) : Number.NaN;
    state.step++;
    state.smoothed = smoothed;
    if (sound) state.lowest = Math.min(state.lowest, smoothed);
    this.hooks.emit({
      type: 'step',
      step: state.step,
      steps: state.offset + plan.steps,
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
    const { settings, hooks } = this;
    const { context, sequences } = this.prepared;
    const { opening, model } = context;
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
          ? dropoutMasks(model.hyper, settings.modules, settings.dropout, { seed: this.plan.seed, step, micro })
          : undefined;
      const nll = await trainStep(context, batch, sequences, entering, { train: true, masks, signal: hooks.signal });
      for (const value of nll) sum += value;
      targets += nll.length;
      const amount = batch.lengths.reduce((total, n) => total + n, 0);
      // As everyone counts: the tokens of the examples, however many of them had to be computed.
      tokens += amount + batch.members.length * opening;
      this.advance(3 * amount * context.layers.length);
    }
    return { sum, targets, tokens };
  }

  /** @param step counts from 1 since the moments were zero @returns the gradient's norm */
  private optimise(step: number, targets: number, rate: number): Promise<number> {
    const { settings, hooks } = this;
    const { context, workspace } = this.prepared;
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

  /** Mean NLL of the sequences from `from` on, by the mean over the steps. */
  async nll(from: number, to: number, parameters?: LoraParameters): Promise<number> {
    const { context, sequences } = this.prepared;
    const used = parameters ? { ...context, parameters } : context;
    let [sum, targets] = [0, 0];
    for (const group of groupSequences(this.lengths.slice(from, to), this.settings.microTokens)) {
      throwIfStopped(this.hooks.signal);
      const batch = { ...group, members: group.members.map((i) => i + from) };
      const nll = await trainStep(used, batch, sequences, await this.entering(batch), {
        train: false,
        averaged: true,
        signal: this.hooks.signal,
      });
      for (const value of nll) sum += value;
      targets += nll.length;
      this.advance(batch.lengths.reduce((total, n) => total + n, 0) * context.layers.length);
    }
    return sum / targets;
  }

  /** Back to the best state with half the learning rate; false the second time. */
  goBack(): boolean {
    const { state, hooks } = this;
    if (state.rateFactor < 1) return false;
    this.prepared.context.parameters.restore(withoutMoments(state.best));
    const { smoothed: loss, lowest } = state;
    state.rateFactor = 0.5;
    // There is nothing of the step that was left to validate.
    state.validated = state.step;
    this.forget();
    // The state is one that has been as low as that: what is far above it has diverged again.
    state.lowest = lowest;
    hooks.emit({
      type: 'diverged',
      step: state.step,
      loss,
      backTo: state.best.step,
      learningRate: this.peak,
    });
    return true;
  }

  /** What the steps until now have shown counts no more. */
  forget(): void {
    const { state } = this;
    state.since = state.step;
    state.stale = 0;
    state.smoothed = Number.NaN;
    state.lowest = Number.POSITIVE_INFINITY;
  }

  private async entering(batch: Batch): Promise<Entering> {
    const { cache, context } = this.prepared;
    if (!cache) return undefined;
    return {
      opening: context.opening > 0 ? cache.opening : undefined,
      own: await cache.gather(batch.members, batch.length),
    };
  }
}

/** Factors as a state of training that begins. */
export function withoutMoments({ a, b }: { a: Float32Array; b: Float32Array }): ParameterState {
  const zerosA = () => new Float32Array(a.length);
  const zerosB = () => new Float32Array(b.length);
  return {
    a,
    b,
    firstA: zerosA(),
    firstB: zerosB(),
    secondA: zerosA(),
    secondB: zerosB(),
    averageA: a,
    averageB: b,
  };
}

/** What all runs on one set of sequences share: layers with their transposes, factors, what enters the first trained layer. */
export interface Preparation extends AsyncDisposable {
  readonly engine: Engine;
  readonly context: TrainContext;
  readonly workspace: Workspace;
  readonly sequences: readonly TrainSequence[];
  /** Missing where all layers are trained. */
  readonly cache: ActivationCache | undefined;
}

/** @param onBatch told the tokens of each batch that went through the layers below the first trained one */
export async function prepareTraining(
  engine: Engine,
  model: Model,
  sequences: readonly TrainSequence[],
  settings: QloraSettings,
  onBatch: (tokens: number) => void,
  signal?: AbortSignal,
): Promise<Preparation> {
  const { layers, vocabulary } = model.hyper;
  const { firstLayer } = settings;
  const longest = sequences.reduce((most, { tokens }) => Math.max(most, tokens.length), 0);
  const owned: Disposable[] = [];
  const own = <T extends Disposable>(item: T) => {
    owned.push(item);
    return item;
  };
  let cache: ActivationCache | undefined;
  const dispose = async () => {
    for (const item of owned.reverse()) item[Symbol.dispose]();
    await cache?.[Symbol.asyncDispose]();
  };
  try {
    const workspace = own(
      engine.workspace(trainNodes(layers - firstLayer, Math.max(longest, settings.microTokens), vocabulary)),
    );
    const opening = sharedOpening(sequences);
    if (firstLayer > 0) {
      cache = await enteringActivations(model, workspace, sequences, { firstLayer, opening }, onBatch, signal);
    }
    const trainable: TrainableLayer[] = [];
    for (let l = firstLayer; l < layers; l++) {
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
    const { recompute } = settings;
    const context: TrainContext = { model, workspace, layers: trainable, parameters, labels, recompute, opening };
    return { engine, context, workspace, sequences, cache, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}
