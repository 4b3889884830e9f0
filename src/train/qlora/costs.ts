import type { Engine } from '../../engine/engine.js';
import { tensorTypes } from '../../engine/tensorTypes.js';
import { weightsInFile } from '../../engine/weightFile.js';
import { linearsAt } from '../../families/family.js';
import { batchTokens, sharedOpening } from '../../model/batch.js';
import { linearShape, streamWidth } from '../../model/hyperparameters.js';
import { transposedHead } from '../../model/labelGradient.js';
import type { Model } from '../../model/model.js';
import type { TransposedType } from '../../model/weights.js';
import type { RunContext } from '../lab.js';
import { enteringRoom } from './activations.js';
import { keptLayers, Products, productsOfToken, Streams, type StreamType } from './kept.js';
import { adam, adamwStep } from './optimiser.js';
import { LoraParameters } from './parameters.js';
import { replayBytes } from './replay.js';
import { allSequences, effort, judges, replayRate, stepsPerEpoch } from './schedule.js';
import type { QloraProblem, QloraSettings } from './state.js';
import { adaptedModules, loadTrainable, modulesAt } from './trainable.js';
import { largestBatch } from './training.js';
import {
  bytesTogether,
  ownLengths,
  type TrainContext,
  type TrainSequence,
  trainNodes,
  trainStep,
} from './trainStep.js';

/** What training by gradients costs: measured once on the device, then computed for any choice of layers and settings. */

/** What a batch of so many tokens took, in seconds. */
interface Measured {
  tokens: number;
  forward: number;
  /** Forward and backward. */
  both: number;
  /** Bytes of intermediate results. */
  bytes: number;
}
/** A small batch and a large one: two points of a line. */
type Line = readonly [few: Measured, many: Measured];

/** What was measured of this model on this device. */
export interface LayerCosts {
  /** The last layer with the head. */
  one: Line;
  /** With the layer before it, whose products are kept. */
  two: Line;
  /** Seconds to load a weight, in both layouts. */
  load: number;
  /** Seconds of a step of the optimiser for each trained value. */
  step: number;
}

/** Tokens of the small batch that is measured. */
const fewTokens = 128;
/** Repetitions of each measurement; the fastest counts, since everything that disturbs makes slower. */
const repetitions = 2;
/** Bytes of a value. */
const bytesOf = (type: TransposedType | StreamType) => tensorTypes[type].typeSize / tensorTypes[type].blockSize;

/** Share of a layer's forward pass that frozen products take: what is saved where they are kept. */
const productShare = 0.6;
/**
 * Values kept for each trained one: itself, its gradient, two moments, its mean, a copy of the best state, for a while that of the best
 * before, and at the end what becomes the adapter. Each further run adds one, and their mean, of twice the rank, two and for a while four.
 */
const copies = { one: 8, mean: 2 } as const;

/** Measures the last layers and the head on the largest batch that training will compute, and on a small one: a few seconds. */
export async function measureCosts(
  { model, emit, signal }: RunContext,
  train: readonly TrainSequence[],
  settings: QloraSettings,
): Promise<LayerCosts> {
  const { engine } = model;
  const { layers } = model.hyper;
  const opening = sharedOpening(train);
  const lengths = ownLengths(train, opening);
  const longest = train.reduce((most, { tokens }) => Math.max(most, tokens.length), 0);
  const nodes = trainNodes(Math.max(longest, settings.microTokens), model.hyper);
  using setup = engine.workspace(nodes);
  const lab = { model, workspace: setup, emit, signal };
  const clock = new SteadyClock(engine);
  const loading = clock.start();
  await using loaded = await loadTrainable(lab, Math.max(0, layers - 2), settings.transposedType);
  const load = loading() / weightsOf(model, loaded.layers.length);
  let step = Number.POSITIVE_INFINITY;
  const run = async (count: number, microTokens: number): Promise<Measured> => {
    using workspace = engine.workspace(nodes);
    const used = loaded.layers.slice(-count);
    using parameters = LoraParameters.create(engine, adaptedModules(model, used, settings));
    parameters.initialise(0);
    using streams = new Streams(model, settings.streamType);
    using products = new Products(model, settings.keptBytes);
    const context: TrainContext = {
      ...lab,
      workspace,
      layers: used,
      parameters,
      labels: loaded.labels,
      streams,
      products,
      opening,
    };
    const batch = largestBatch(lengths, microTokens);
    const fastest = async (work: () => Promise<unknown>) => {
      let best = Number.POSITIVE_INFINITY;
      for (let i = 0; i < repetitions; i++) {
        const working = clock.start();
        await work();
        best = Math.min(best, working());
      }
      return best;
    };
    const pass = (train_: boolean) =>
      fastest(() => trainStep(context, { batch, sequences: train, entering: undefined }, { train: train_ }));
    const measured = { both: await pass(true), forward: await pass(false), bytes: workspace.bytes };
    const rates = { step: 1, scale: 0, rateA: 0, rateB: 0 };
    const optimised = await fastest(() => adamwStep(workspace, parameters, { ...settings, ...adam }, rates));
    step = Math.min(step, optimised / parameters.count);
    return { tokens: batchTokens(batch, opening), ...measured };
  };
  const line = async (count: number): Promise<Line> => [
    await run(count, fewTokens),
    await run(count, settings.microTokens),
  ];
  const one = await line(1);
  // A model of one layer tells no difference.
  const two = loaded.layers.length > 1 ? await line(2) : one;
  const { ratio } = clock;
  const told = (points: Line): Line => {
    const [few, many] = points.map((at) => ({ ...at, forward: ratio * at.forward, both: ratio * at.both }));
    return [few!, many!];
  };
  return { one: told(one), two: told(two), load: ratio * load, step: ratio * step };
}

/**
 * Seconds of processors instead of the clock: other programs hardly change them, and a layer's time is the small difference of two.
 * All of them together are then told by the clock. Where another device computes it is the clock's at once.
 */
class SteadyClock {
  private clock = 0;
  private processors = 0;

  constructor(private readonly engine: Engine) {}

  /** @returns ends it, and says what it took */
  start(): () => number {
    const [started, before] = [performance.now(), process.cpuUsage()];
    return () => {
      const seconds = (performance.now() - started) / 1000;
      const { user, system } = process.cpuUsage(before);
      const used = this.engine.main === this.engine.cpu ? (user + system) / 1e6 : seconds;
      this.clock += seconds;
      this.processors += used;
      return used;
    };
  }

  /** Seconds of the clock for one of processors. */
  get ratio(): number {
    return this.clock / this.processors;
  }
}

/** A figure for a batch of so many tokens. */
function between([few, many]: Line, figure: Exclude<keyof Measured, 'tokens'>, tokens: number): number {
  const more = many.tokens - few.tokens;
  const slope = more > 0 ? (many[figure] - few[figure]) / more : many[figure] / many.tokens;
  return Math.max(0, many[figure] + slope * (tokens - many.tokens));
}

/** Seconds of one layer for a batch of so many tokens; `both`: its products are kept. */
export function layerSeconds({ one, two }: LayerCosts, figure: 'forward' | 'both', tokens: number): number {
  const whole = between(two, figure, tokens);
  return Math.max(0.1 * whole, whole - between(one, figure, tokens));
}

/** Weights of so many of the upper layers and the head. */
function weightsOf({ hyper }: Model, layers: number): number {
  let sum = hyper.embedding * hyper.vocabulary;
  for (let l = hyper.layers - layers; l < hyper.layers; l++) {
    for (const part of linearsAt(hyper, l)) sum += linearShape(hyper, part, l).reduce((a, b) => a * b);
  }
  return sum;
}

/** Seconds of the whole gradient stage, bytes of memory beyond what the process holds, and bytes of disk. */
export interface QloraPrice {
  seconds: number;
  memoryBytes: number;
  diskBytes: number;
}

/** Bytes of weights as training holds them: of a layer as it is stored, of it with its transpose, and of the head. */
function placedWeights(model: Model, type: TransposedType): { stored: number; layer: number; head: number } {
  const { hyper } = model;
  // One layer stands for all; of several kinds the largest.
  const all = [...Array(hyper.layers).keys()];
  const kinds = all.filter((l) => hyper.each ?? hyper.kinds?.indexOf(hyper.kinds[l]!) === l);
  const sizes = (kinds.length > 0 ? kinds : [0]).map((index) => {
    const linears = linearsAt(hyper, index);
    const weights = linears.reduce((sum, linear) => sum + linearShape(hyper, linear, index).reduce((a, b) => a * b), 0);
    return { weights, stored: linears.reduce((sum, part) => sum + model.bytesToTrain(index, part), 0) };
  });
  const weights = Math.max(...sizes.map((size) => size.weights));
  const stored = Math.max(...sizes.map((size) => size.stored));
  const head = model.bytesOfHead + transposedHead(model.hyper, model.engine).bytes;
  return { stored, layer: stored + bytesOf(type) * weights, head };
}

/** Bytes of disk that weights take while they are trained (`WeightFile`). */
export function weightFileBytes(
  model: Model,
  { firstLayer, transposedType }: Pick<QloraSettings, 'firstLayer' | 'transposedType'>,
): number {
  const { layer, head } = placedWeights(model, transposedType);
  return weightsInFile(model.engine) ? (model.hyper.layers - firstLayer) * layer + head : 0;
}

/** Trained values of a layer; of several kinds the most. */
export function valuesOfLayer({ hyper }: Model, { modules, rank }: Pick<QloraSettings, 'modules' | 'rank'>): number {
  const of = (layer: number) =>
    modulesAt(hyper, layer, modules).reduce((sum, module) => {
      const [inputs, outputs] = linearShape(hyper, module, layer);
      return sum + (inputs + outputs) * Math.ceil(rank / 16) * 16;
    }, 0);
  return Math.max(...Array.from({ length: hyper.layers }, (_, layer) => of(layer)));
}

export function priceQlora(
  model: Model,
  costs: LayerCosts,
  problem: Pick<QloraProblem, 'train' | 'validation' | 'replay'>,
  settings: QloraSettings,
): QloraPrice {
  const { layers, embedding } = model.hyper;
  const width = streamWidth(model.hyper);
  const { replay = [] } = problem;
  const all = allSequences(problem);
  const opening = sharedOpening(all);
  const tokens = (list: readonly TrainSequence[]) => ownLengths(list, opening).reduce((sum, n) => sum + n, 0);
  const below = settings.firstLayer;
  const trained = layers - below;
  const evaluations = 1 + settings.epochs * settings.evaluations;
  const epochs = (settings.runs > 1 ? effort : 1) * settings.epochs;
  // General examples read once before, and their share of every epoch; those of a step lie in a batch of their own, behind the opening.
  const rate = replayRate(problem, settings);
  const read = replay.length === 0 ? 0 : (rate * problem.train.length) / settings.batch / replay.length;
  const { batch: each, microTokens, keptBytes } = settings;
  /** Seconds of reading sequences, so many tokens in a batch, in all of the trained layers. */
  const pass = (sum: number, inBatch: number, figure: 'forward' | 'both') => {
    if (sum === 0) return 0;
    const atOnce = Math.min(microTokens, inBatch);
    const batch = atOnce + opening;
    const kept = keptLayers(model, trained, batch, keptBytes);
    const again = figure === 'both' ? productShare * layerSeconds(costs, 'forward', batch) * (trained - 1 - kept) : 0;
    const seconds = (trained - 1) * layerSeconds(costs, figure, batch) + again + between(costs.one, figure, batch);
    return (sum / atOnce) * seconds;
  };
  const mean = (list: readonly TrainSequence[]) => tokens(list) / list.length;
  const train = tokens(problem.train);
  const judged = all.slice(...judges(problem));
  const steps = epochs * stepsPerEpoch(problem.train.length, each);
  const seconds =
    costs.load * weightsOf(model, trained) +
    below * layerSeconds(costs, 'forward', microTokens) * (tokens(all) / microTokens) +
    pass(tokens(replay), microTokens, 'forward') +
    // The largest batch is computed once before.
    pass(Math.min(microTokens, train), microTokens, 'both') +
    epochs * pass(train, each * mean(problem.train), 'both') +
    epochs * read * pass(tokens(replay), rate * mean(replay), 'both') +
    evaluations * pass(tokens(judged), tokens(judged), 'forward') +
    steps * costs.step * trained * valuesOfLayer(model, settings);
  const values = valuesOfLayer(model, settings);
  const batch = largestBatch(ownLengths(all, opening), settings.microTokens);
  const tokensAtOnce = batchTokens(batch, opening);
  const { walk, cache } = enteringRoom(all, { firstLayer: below, opening }, width);
  const { stored, layer, head } = placedWeights(model, settings.transposedType);
  const held = copies.one + (settings.runs > 1 ? settings.runs - 1 + copies.mean : 0);
  const perLayer = 4 * held * values + bytesOf(settings.streamType) * width * tokensAtOnce;
  const products = keptLayers(model, trained, tokensAtOnce, keptBytes) * productsOfToken(model) * tokensAtOnce;
  // A third is written before the older of two goes.
  const checkpoints = 3 * 8 * 4 * values * trained;
  // Weights in a file are in memory a few layers at a time, or the head.
  const resident = weightsInFile(model.engine) ? Math.max(layer, bytesTogether, head) : trained * layer + head;
  const training = trained * perLayer + resident + between(costs.two, 'bytes', tokensAtOnce) + products;
  // The walk is over before anything is trained.
  const walking = stored + walk.memory;
  return {
    seconds,
    memoryBytes: cache.memory + replayBytes(problem, embedding) + Math.max(training, walking),
    diskBytes: cache.disk + Math.max(walk.disk, checkpoints + weightFileBytes(model, settings)),
  };
}
