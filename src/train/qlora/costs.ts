import { weightsInFile } from '../../engine/weightFile.js';
import { linearsOf } from '../../families/family.js';
import { batchTokens, sharedOpening } from '../../model/batch.js';
import { linearShape } from '../../model/hyperparameters.js';
import { transposedHead } from '../../model/labelGradient.js';
import type { Model, TransposedType } from '../../model/model.js';
import type { RunContext } from '../lab.js';
import { enteringRoom } from './activations.js';
import { LoraParameters } from './parameters.js';
import { Streams } from './pass.js';
import { replayBytes } from './replay.js';
import { allSequences, effort, replayRate } from './schedule.js';
import type { QloraProblem, QloraSettings } from './state.js';
import { adaptedModules, loadTrainable } from './trainable.js';
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

/** Bytes of intermediate results of a batch of so many tokens. */
interface Work {
  tokens: number;
  bytes: number;
}

/** What was measured of this model on this device: seconds, and bytes of intermediate results. */
export interface LayerCosts {
  /** One layer forward, per token. */
  forward: number;
  /** One layer forward and backward, per token. */
  both: number;
  /** Head (with the last layer's share of it), per target, forward and backward. */
  head: number;
  /** Bytes of intermediate results by the tokens of a batch, two points of a line. */
  work: { few: Work; many: Work };
}

/** Tokens of the small batch that is measured. */
const fewTokens = 128;
/** Repetitions of each measurement; the fastest counts, since everything that disturbs makes slower. */
const repetitions = 2;
/** Bytes per weight of the transposed copies, by type. */
const transposedBytes = { q8_0: 34 / 32, bf16: 2, f16: 2 } as const;
/**
 * Values kept for each trained one: itself, its gradient, two moments, its mean, a copy of the best state; and what an optimiser step
 * works with. Each further run adds one.
 */
const copies = 8;

/** Measures a layer and the head on the largest batch that training will compute: a few seconds. */
export async function measureCosts(
  { model, emit, signal }: RunContext,
  train: readonly TrainSequence[],
  settings: QloraSettings,
): Promise<LayerCosts> {
  const { engine } = model;
  const { layers, vocabulary } = model.hyper;
  const opening = sharedOpening(train);
  const lengths = ownLengths(train, opening);
  const longest = train.reduce((most, { tokens }) => Math.max(most, tokens.length), 0);
  const nodes = trainNodes(Math.max(longest, settings.microTokens), vocabulary);
  using setup = engine.workspace(nodes);
  const lab = { model, workspace: setup, emit, signal };
  await using loaded = await loadTrainable(lab, Math.max(0, layers - 2), settings.transposedType);
  const run = async (count: number, microTokens: number) => {
    using workspace = engine.workspace(nodes);
    const used = loaded.layers.slice(-count);
    using parameters = LoraParameters.create(engine, adaptedModules(model, used, settings));
    parameters.initialise(0);
    using streams = new Streams(model);
    const context: TrainContext = {
      ...lab,
      workspace,
      layers: used,
      parameters,
      labels: loaded.labels,
      streams,
      opening,
    };
    const batch = largestBatch(lengths, microTokens);
    const time = async (train_: boolean) => {
      let best = Number.POSITIVE_INFINITY;
      for (let i = 0; i < repetitions; i++) {
        const started = performance.now();
        await trainStep(context, { batch, sequences: train, entering: undefined }, { train: train_ });
        best = Math.min(best, (performance.now() - started) / 1000);
      }
      return best;
    };
    const tokens = batchTokens(batch, opening);
    const targets = batch.members.reduce((sum, member) => sum + train[member]!.targets.length, 0);
    return { both: await time(true), forward: await time(false), bytes: workspace.bytes, tokens, targets };
  };
  const few = await run(loaded.layers.length, fewTokens);
  const one = await run(1, settings.microTokens);
  const two = loaded.layers.length > 1 ? await run(2, settings.microTokens) : one;
  // A model of one layer tells no difference: its whole step then counts as the layer.
  const difference = (a: number, b: number) => (loaded.layers.length > 1 ? Math.max(0.1 * b, a - b) : b);
  return {
    forward: difference(two.forward, one.forward) / two.tokens,
    both: difference(two.both, one.both) / two.tokens,
    head: one.both / one.targets,
    work: { few, many: two },
  };
}

/** Bytes of intermediate results of a batch of so many tokens. */
function workBytes({ work: { few, many } }: LayerCosts, tokens: number): number {
  const more = many.tokens - few.tokens;
  const slope = more > 0 ? (many.bytes - few.bytes) / more : many.bytes / many.tokens;
  return many.bytes + slope * (tokens - many.tokens);
}

/** Seconds of the whole gradient stage, bytes of memory beyond what the process holds, and bytes of disk. */
export interface QloraPrice {
  seconds: number;
  memoryBytes: number;
  diskBytes: number;
}

/** Bytes of weights as training holds them: of a layer as it is stored, of it with its transpose, and of the head. */
function placedWeights(model: Model, type: TransposedType): { stored: number; layer: number; head: number } {
  const linears = linearsOf(model.hyper.family);
  const shapes = linears.map((linear) => linearShape(model.hyper, linear));
  const weights = shapes.reduce((sum, [inputs, outputs]) => sum + inputs * outputs, 0);
  const stored = linears.reduce((sum, part) => sum + model.bytesToTrain(0, part), 0);
  const head = model.bytesOfHead + transposedHead(model.hyper, model.engine).bytes;
  return { stored, layer: stored + transposedBytes[type] * weights, head };
}

/** Bytes of disk that weights take while they are trained (`WeightFile`). */
export function weightFileBytes(
  model: Model,
  { firstLayer, transposedType }: Pick<QloraSettings, 'firstLayer' | 'transposedType'>,
): number {
  const { layer, head } = placedWeights(model, transposedType);
  return weightsInFile(model.engine) ? (model.hyper.layers - firstLayer) * layer + head : 0;
}

export function priceQlora(
  model: Model,
  costs: LayerCosts,
  problem: Pick<QloraProblem, 'train' | 'validation' | 'replay'>,
  settings: QloraSettings,
): QloraPrice {
  const { layers, embedding } = model.hyper;
  const { replay = [] } = problem;
  const all = allSequences(problem);
  const opening = sharedOpening(all);
  const tokens = (list: readonly TrainSequence[]) => ownLengths(list, opening).reduce((sum, n) => sum + n, 0);
  const targets = (list: readonly TrainSequence[]) => list.reduce((sum, s) => sum + s.targets.length, 0);
  const below = settings.firstLayer;
  const trained = layers - below;
  const evaluations = 1 + settings.epochs * settings.evaluations;
  const epochs = (settings.runs > 1 ? effort : 1) * settings.epochs;
  // General examples read once before, and their share of every epoch; those of a step lie in a batch of their own, behind the opening.
  const rate = replayRate(problem, settings);
  const read = replay.length === 0 ? 0 : (rate * problem.train.length) / settings.batch / replay.length;
  const reminded = tokens(replay) + (opening * replay.length) / Math.max(1, rate);
  const seconds =
    below * costs.forward * tokens(all) +
    (trained - 1) * costs.forward * tokens(replay) +
    (costs.head / 3) * targets(replay) +
    epochs * ((trained - 1) * costs.both * tokens(problem.train) + costs.head * targets(problem.train)) +
    epochs * read * ((trained - 1) * costs.both * reminded + costs.head * targets(replay)) +
    // The head forward alone is about a third of it with its gradient.
    evaluations *
      ((trained - 1) * costs.forward * tokens(problem.validation) + (costs.head / 3) * targets(problem.validation));
  const values = settings.modules.reduce((sum, module) => {
    const [inputs, outputs] = linearShape(model.hyper, module);
    return sum + (inputs + outputs) * Math.ceil(settings.rank / 16) * 16;
  }, 0);
  const batch = largestBatch(ownLengths(all, opening), settings.microTokens);
  const tokensAtOnce = batchTokens(batch, opening);
  const { walk, cache } = enteringRoom(all, { firstLayer: below, opening }, embedding);
  const { stored, layer, head } = placedWeights(model, settings.transposedType);
  const perLayer = 4 * (copies + settings.runs - 1) * values + 4 * embedding * tokensAtOnce;
  // A third is written before the older of two goes.
  const checkpoints = 3 * 8 * 4 * values * trained;
  // Weights in a file are in memory a few layers at a time, or the head.
  const resident = weightsInFile(model.engine) ? Math.max(layer, bytesTogether, head) : trained * layer + head;
  const training = trained * perLayer + resident + workBytes(costs, tokensAtOnce);
  // The walk is over before anything is trained.
  const walking = stored + walk.memory;
  return {
    seconds,
    memoryBytes: cache.memory + replayBytes(problem, embedding) + Math.max(training, walking),
    diskBytes: cache.disk + Math.max(walk.disk, checkpoints + weightFileBytes(model, settings)),
  };
}
