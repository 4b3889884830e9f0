import type { Graph } from '../../engine/graph.js';
import type { Tensor } from '../../engine/tensor.js';
import type { Batch } from '../../model/batch.js';
import type { LayerLora } from '../../model/block.js';
import type { Hyperparameters } from '../../model/hyperparameters.js';
import type { LabelGradient } from '../../model/labelGradient.js';
import { headChunk } from '../../model/model.js';
import type { Lab } from '../lab.js';
import { chunkTokens } from './deltaRule.js';
import type { Products, Streams } from './kept.js';
import type { LoraParameters } from './parameters.js';
import { Pass } from './pass.js';
import type { TrainableLayer } from './trainable.js';

/** A sequence to train on. */
export interface TrainSequence {
  readonly tokens: Int32Array;
  /** Positions of the tokens to be learnt, none of them 0. */
  readonly targets: Int32Array;
  /**
   * Of a sequence that isn't learnt but whose predictions are to stay as they were: the mean rows of the head under them, [embedding,
   * targets].
   */
  readonly expected?: Float32Array;
}

/** What a step computes with. */
export interface TrainContext extends Lab {
  /** The layers that a gradient passes, in order; the last one is the model's last. */
  readonly layers: readonly TrainableLayer[];
  readonly parameters: LoraParameters;
  readonly labels: LabelGradient;
  readonly streams: Streams;
  readonly products: Products;
  /** Tokens that all sequences begin with. */
  readonly opening: number;
}

/** What a step reads. */
export interface StepData {
  readonly batch: Batch;
  /** That the batch's members count. */
  readonly sequences: readonly TrainSequence[];
  readonly entering: Entering;
}

/**
 * What enters the first of the layers, f16, divided by the model's `embeddingScale`: [embedding, opening] and [embedding, N] of the
 * padded batch; nothing: tokens are looked up.
 */
export type Entering = { opening?: Uint16Array; own: Uint16Array } | undefined;

/** Lengths of the sequences without what all begin with: what batches are made of. */
export function ownLengths(sequences: readonly TrainSequence[], opening: number): number[] {
  return sequences.map(({ tokens }) => tokens.length - opening);
}

/** Layers of one graph, at most. */
const mostTogether = 4;
/** Bytes of their weights, at most, if they are more than one. */
export const bytesTogether = 32 << 20;

/**
 * Layers in graphs of a few: each graph waits for the processor twice, which beside other programs takes longer than a small layer; the
 * weights of all its layers are in memory at once.
 */
function together(layers: readonly TrainableLayer[]): TrainableLayer[][] {
  const groups: TrainableLayer[][] = [];
  let bytes = 0;
  for (const layer of layers) {
    const group = groups.at(-1);
    bytes += layer.bytes;
    if (group && group.length < mostTogether && bytes <= bytesTogether) group.push(layer);
    else {
      groups.push([layer]);
      bytes = layer.bytes;
    }
  }
  return groups;
}

/**
 * Nodes of the largest graph: a layer takes about 700 with its gradients, 100 more with norms of heads and outputs; that of the last one
 * has the head, chunk by chunk. A delta net takes about 500 more, and 60 for each of its chunks.
 * @param tokens of a batch, at most
 */
export function trainNodes(
  tokens: number,
  { vocabulary, delta }: Pick<Hyperparameters, 'vocabulary' | 'delta'>,
): number {
  const layer = 1024 + (delta ? 512 + 64 * Math.ceil(tokens / chunkTokens) : 0);
  return 1024 + layer * mostTogether + 48 * Math.ceil(tokens / headChunk(vocabulary));
}

/** Masks of dropout for each module, by layer: f32 [inputs, tokens]. */
export type Masks = (g: Graph, layer: number, tokens: number) => Partial<Record<keyof LayerLora, Tensor>>;

export interface StepOptions {
  train: boolean;
  averaged?: boolean;
  masks?: Masks;
  /** Factor of the gradients of sequences that are to stay as they were. */
  hold?: number;
}

/**
 * One batch forward and, if `train` is set, backward: the gradient of Σ log p(target) is added to the parameters' gradients. With
 * `averaged` the mean of the values over the steps is used instead of the values.
 * Sequences with `expected` count by -KL instead, times `hold`.
 *
 * A few layers are a graph of their own, and on the way back they are computed a second time: what is kept of a batch is the residual
 * stream between layers and what there is room for (`Products`), and only one layer's activations and a few layers' weights are in use at a time (gradient checkpointing, Chen et al. 2016).
 * @returns -log p of each target of the others in nats, member by member
 */
export async function trainStep(context: TrainContext, data: StepData, options: StepOptions): Promise<Float32Array> {
  const { train, averaged, masks, hold } = options;
  const pass = new Pass(context, data, { train, averaged, masks: train ? masks : undefined });
  const { layers, labels } = context;
  const groups = together(layers.slice(0, -1));
  for (const group of groups) await pass.forward(group);
  const nll = await pass.turn(train ? (hold ?? 1) : undefined);
  labels.release();
  if (train) for (const group of groups.reverse()) await pass.backward(group);
  return nll;
}

/**
 * Predictions of sequences, as they are to stay: mean rows of the head, [embedding, targets] for each of the batch's members, by the
 * means of the values over the steps.
 * @param taught weight of the targets themselves in them
 */
export async function expectedRows(context: TrainContext, data: StepData, taught: number): Promise<Float32Array[]> {
  const pass = new Pass(context, data, { train: false, averaged: true });
  for (const group of together(context.layers.slice(0, -1))) await pass.forward(group);
  const rows = await pass.expected(taught);
  context.labels.release();
  const { embedding } = context.model.hyper;
  let at = 0;
  return data.batch.members.map((member) => {
    const from = at;
    at += embedding * data.sequences[member]!.targets.length;
    return rows.slice(from, at);
  });
}
