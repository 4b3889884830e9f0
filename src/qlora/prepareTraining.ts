import type { Engine } from '../ggml/engine.js';
import type { Workspace } from '../ggml/workspace.js';
import { linearShape } from '../model/hyperparameters.js';
import { LabelGradient } from '../model/labelGradient.js';
import type { Model } from '../model/model.js';
import { sharedOpening } from '../model/sharedOpening.js';
import { throwIfStopped } from '../util/errors.js';
import type { ActivationCache } from './activationCache.js';
import { enteringActivations } from './enteringActivations.js';
import { LoraParameters } from './parameters.js';
import type { QloraSettings } from './settings.js';
import { TrainableLayer } from './trainableLayer.js';
import { type TrainContext, type TrainSequence, trainNodes } from './trainStep.js';

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
