import { throwIfStopped } from '../../base/errors.js';
import { type Batch, batchTokens, groupSequences, sharedOpening } from '../../model/batch.js';
import { figure, type Lab, type RunContext } from '../lab.js';
import { type ActivationCache, enteringActivations } from './activations.js';
import { Products, Streams } from './kept.js';
import { adam, adamwStep, dropoutMasks, planEpoch, rateAt, type StepPlan } from './optimiser.js';
import { type FlatFactors, LoraParameters, type ParameterState } from './parameters.js';
import { heldSequences, holdFactor, ReplayOrder, withMembers } from './replay.js';
import { allSequences, replayRate, stepsPerEpoch, TrainingProgress } from './schedule.js';
import type { QloraEvent, QloraProblem, QloraSettings, QloraState } from './state.js';
import { adaptedModules, loadTrainable, Owned } from './trainable.js';
import {
  ownLengths,
  type StepData,
  type TrainContext,
  type TrainSequence,
  trainNodes,
  trainStep,
} from './trainStep.js';

/** Weight of the newest step in the smoothed loss. */
const smoothing = 0.1;
/** The smoothed loss has diverged beyond this multiple of its lowest value plus this many nats. */
const divergence = { times: 2, plus: 0.5 } as const;

/** One run: which of the sequences it learns, for how long. */
export interface RunPlan {
  seed: number;
  /** How many of the sequences are learnt: the first ones. */
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

  constructor(
    private readonly prepared: Preparation,
    private readonly settings: QloraSettings,
    readonly state: LoopState,
    public plan: RunPlan,
  ) {
    this.lengths = ownLengths(prepared.sequences, prepared.context.opening);
  }

  /** Steps done of the run in hand. */
  get local(): number {
    return this.state.step - this.state.offset;
  }
  private get stepsPerEpoch(): number {
    return stepsPerEpoch(this.plan.learnt, this.settings.batch);
  }

  private get peak(): number {
    return this.settings.learningRate * this.plan.rate * this.state.rateFactor;
  }

  /** The adapter as it would be kept: the mean over the last steps. */
  values(): FlatFactors {
    return this.prepared.context.parameters.current();
  }

  snapshot(): QloraState {
    return { ...this.state, parameters: this.prepared.context.parameters.state() };
  }

  /** Computes the largest batch once, before anything is learnt: memory runs out now or never. */
  async longestFirst(): Promise<void> {
    const { context } = this.prepared;
    const largest = largestBatch(this.lengths.slice(0, this.plan.learnt), this.settings.microTokens);
    await trainStep(context, await this.read(largest), { train: true });
    context.parameters.zeroGradients();
  }

  /** The examples of a step of the run in hand, counted from 1. */
  planOf(step: number): { epoch: number; plan: StepPlan } {
    const epoch = Math.floor((step - 1) / this.stepsPerEpoch);
    const { run } = this.state;
    if (this.planned?.epoch !== epoch || this.planned.run !== run) {
      const { batch, microTokens } = this.settings;
      const { seed, learnt } = this.plan;
      const learning = planEpoch(this.lengths.slice(0, learnt), { batch, tokens: microTokens, seed, epoch });
      const { learnable, replay } = this.prepared;
      const steps = learning.map((plan, i) => {
        const held = replay.of(seed, epoch * this.stepsPerEpoch + i + 1).map((member) => learnable + member);
        return withMembers(plan, held, this.lengths, { tokens: microTokens, opening: this.prepared.context.opening });
      });
      this.planned = { run, epoch, steps };
    }
    return { epoch, plan: this.planned.steps[(step - 1) % this.stepsPerEpoch]! };
  }

  /** One optimiser step; false if it led to numbers that make no sense. */
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
    this.prepared.lab.emit({
      type: 'step',
      step: state.step,
      steps: state.offset + plan.steps,
      epoch: epoch + 1,
      loss: figure(loss),
      learningRate: rate,
      gradientNorm: figure(norm),
      tokensPerSecond: (1000 * tokens) / (performance.now() - started),
    });
    return Number.isFinite(norm);
  }

  /** Adds up the gradients of one step's examples; its loss and sizes. */
  private async gradients(plan: StepPlan, step: number): Promise<{ sum: number; targets: number; tokens: number }> {
    const { settings } = this;
    const { context, progress, sequences, replay, learnable } = this.prepared;
    const { opening, model } = context;
    const hold = holdFactor(plan, sequences, { weight: settings.replay, rate: replay.rate });
    let [sum, targets, tokens] = [0, 0, 0];
    let next = this.read(plan[0]!);
    for (const [micro, batch] of plan.entries()) {
      const data = await next;
      // Read while this batch is computed. A failed read is reported when its turn comes.
      if (micro + 1 < plan.length) {
        next = this.read(plan[micro + 1]!);
        next.catch(() => {});
      }
      const masks =
        settings.dropout > 0
          ? dropoutMasks(model.hyper, settings.modules, settings.dropout, { seed: this.plan.seed, step, micro })
          : undefined;
      const nll = await trainStep(context, data, { train: true, masks, hold });
      for (const value of nll) sum += value;
      targets += nll.length;
      const amount = batch.lengths.reduce((total, n) => total + n, 0);
      // As everyone counts: the tokens of the examples, however many of them had to be computed.
      batch.members.forEach((member, row) => {
        if (member < learnable) tokens += batch.lengths[row]! + opening;
      });
      progress.advance(3 * amount * context.layers.length);
    }
    return { sum, targets, tokens };
  }

  /** @param step counts from 1 since the moments were zero @returns the gradient's norm */
  private optimise(step: number, targets: number, rate: number): Promise<number> {
    const { settings } = this;
    const { workspace, parameters, signal } = this.prepared.context;
    const scale = settings.rsLora ? settings.alpha / Math.sqrt(settings.rank) : settings.alpha / settings.rank;
    return adamwStep(
      workspace,
      parameters,
      { ...adam, weightDecay: settings.weightDecay, clip: settings.clip, averaging: settings.averaging },
      // B is stored with the scale folded in (see LoraParameters).
      { step, scale: -1 / targets, rateA: rate, rateB: rate * settings.loraPlus * scale },
      signal,
    );
  }

  /** Mean NLL of the sequences from `from` on, by the mean over the steps. */
  async nll(from: number, to: number, parameters?: LoraParameters): Promise<number> {
    const { context, progress } = this.prepared;
    const used = parameters ? { ...context, parameters } : context;
    let [sum, targets] = [0, 0];
    for (const group of groupSequences(this.lengths.slice(from, to), this.settings.microTokens)) {
      throwIfStopped(context.signal);
      const batch = { ...group, members: group.members.map((i) => i + from) };
      const nll = await trainStep(used, await this.read(batch), { train: false, averaged: true });
      for (const value of nll) sum += value;
      targets += nll.length;
      progress.advance(batch.lengths.reduce((total, n) => total + n, 0) * context.layers.length);
    }
    return sum / targets;
  }

  /** Back to the best state with half the learning rate; false the second time. */
  goBack(): boolean {
    const { state } = this;
    if (state.rateFactor < 1) return false;
    this.prepared.context.parameters.restore(withoutMoments(state.best));
    const { smoothed: loss, lowest } = state;
    state.rateFactor = 0.5;
    // There is nothing of the step that was left to validate.
    state.validated = state.step;
    this.forget();
    // The state is one that has been as low as that: what is far above it has diverged again.
    state.lowest = lowest;
    this.prepared.lab.emit({
      type: 'diverged',
      step: state.step,
      loss: figure(loss),
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

  private async read(batch: Batch): Promise<StepData> {
    return await readBatch(this.prepared, batch);
  }
}

async function readBatch(
  { cache, context, sequences }: Pick<Preparation, 'cache' | 'context' | 'sequences'>,
  batch: Batch,
): Promise<StepData> {
  const entering = cache && {
    opening: context.opening > 0 ? cache.opening : undefined,
    own: await cache.gather(batch.members, batch.length),
  };
  return { batch, sequences, entering };
}

/** The batch that takes the most memory, of sequences of these lengths. */
export function largestBatch(lengths: readonly number[], microTokens: number): Batch {
  return groupSequences(lengths, microTokens).reduce((most, group) =>
    batchTokens(group) > batchTokens(most) ? group : most,
  );
}

/** Factors as a state of training that begins. */
export function withoutMoments({ a, b }: FlatFactors): ParameterState {
  const zeros = (like: Float32Array) => new Float32Array(like.length);
  const moments = { firstA: zeros(a), firstB: zeros(b), secondA: zeros(a), secondB: zeros(b) };
  return { a, b, ...moments, averageA: a, averageB: b };
}

/** What all runs on one set of sequences share: layers with their transposes, factors, what enters the first trained layer. */
export interface Preparation extends AsyncDisposable {
  readonly lab: Lab<QloraEvent>;
  readonly progress: TrainingProgress;
  readonly context: TrainContext;
  /** Those to train on, then those to validate by, then those to be held. */
  readonly sequences: readonly TrainSequence[];
  /** How many of them are the user's. */
  readonly learnable: number;
  readonly replay: ReplayOrder;
  /** Missing if all layers are trained. */
  readonly cache: ActivationCache | undefined;
}

export async function prepareTraining(
  { model, emit, signal }: RunContext<QloraEvent>,
  problem: QloraProblem,
  settings: QloraSettings,
): Promise<Preparation> {
  const { firstLayer } = settings;
  const sequences = allSequences(problem);
  const opening = sharedOpening(sequences);
  const longest = sequences.reduce((most, { tokens }) => Math.max(most, tokens.length), 0);
  const owned = new Owned();
  const own: Owned['add'] = (item) => owned.add(item);
  const dispose = () => owned[Symbol.asyncDispose]();
  try {
    const nodes = trainNodes(Math.max(longest, settings.microTokens), model.hyper);
    const lab = { model, workspace: own(model.engine.workspace(nodes)), emit, signal };
    const progress = new TrainingProgress(lab, problem, settings);
    const below = { firstLayer, opening };
    const advance = (tokens: number) => progress.advance(tokens);
    const cache = firstLayer > 0 ? own(await enteringActivations(lab, sequences, below, advance)) : undefined;
    const { layers: trained, labels } = own(await loadTrainable(lab, firstLayer, settings.transposedType));
    const parameters = own(LoraParameters.create(model.engine, adaptedModules(model, trained, settings)));
    const streams = own(new Streams(model, settings.streamType));
    const products = own(new Products(model, settings.keptBytes));
    const context: TrainContext = { ...lab, layers: trained, parameters, labels, streams, products, opening };
    const learnable = problem.train.length + problem.validation.length;
    const plain = { cache, context, sequences };
    const held = await heldSequences(
      context,
      problem,
      settings,
      (batch) => readBatch(plain, batch),
      (tokens) => progress.advance(tokens * trained.length),
    );
    sequences.splice(learnable, held.length, ...held);
    const replay = new ReplayOrder(held.length, replayRate(problem, settings));
    return { lab, progress, context, sequences, learnable, replay, cache, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}
