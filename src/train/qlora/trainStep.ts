import type { Graph } from '../../engine/graph.js';
import type { Operations } from '../../engine/operations.js';
import type { Tensor } from '../../engine/tensor.js';
import { type Batch, sharedBlock, streamInputs, tokenIndex } from '../../model/batch.js';
import { LayerGraph, type LayerLora } from '../../model/block.js';
import type { LabelGradient } from '../../model/labelGradient.js';
import { headChunk } from '../../model/model.js';
import type { Lab } from '../lab.js';
import type { LoraParameters } from './parameters.js';
import { Tape } from './tape.js';
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
  /** Layers whose activations are computed again in the backward pass, instead of kept from the forward pass. */
  readonly recompute: boolean;
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

/**
 * Nodes of the largest graph: a layer takes about 500 with its gradients, 700 when computed twice, 100 more with norms of heads and
 * outputs; then the head, chunk by chunk.
 * @param tokens of a batch, at most
 */
export function trainNodes(layers: number, tokens: number, vocabulary: number): number {
  return 1024 + 1024 * layers + 48 * Math.ceil(tokens / headChunk(vocabulary));
}

/** Masks of dropout for each module, by layer: f32 [inputs, tokens]. */
export type Masks = (g: Graph, layer: number, tokens: number) => Partial<Record<keyof LayerLora, Tensor>>;

interface StepOptions {
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
 * @returns -log p of each target of the others in nats, member by member
 */
export async function trainStep(context: TrainContext, data: StepData, options: StepOptions): Promise<Float32Array> {
  const g = context.workspace.begin();
  const nll = buildStep(g, context, data, options);
  await g.compute(context.signal);
  const out: number[] = [];
  for (const tensor of nll) for (const value of tensor.toFloat32()) out.push(value);
  return Float32Array.from(out);
}

/**
 * Predictions of sequences, as they are to stay: mean rows of the head, [embedding, targets] for each of the batch's members, by the
 * means of the values over the steps.
 */
export async function expectedRows(context: TrainContext, data: StepData): Promise<Float32Array[]> {
  const g = context.workspace.begin();
  const walk = begin(g, context, data, { averaged: true });
  let x = walk.start;
  for (const layer of context.layers) x = walk.run(g, x, layer);
  const { embedding, vocabulary } = context.model.hyper;
  const chunk = headChunk(vocabulary);
  const parts: Tensor[] = [];
  for (let from = 0; from < walk.targets.length; from += chunk) {
    const n = Math.min(chunk, walk.targets.length - from);
    parts.push(g.output(context.labels.expectedRow(g, g.rowsOf(x, from, n))));
  }
  await g.compute(context.signal);
  const rows = new Float32Array(embedding * walk.targets.length);
  let at = 0;
  for (const part of parts) {
    part.read(rows.subarray(at, at + part.elements));
    at += part.elements;
  }
  at = 0;
  return data.batch.members.map((member) => {
    const from = at;
    at += embedding * data.sequences[member]!.targets.length;
    return rows.slice(from, at);
  });
}

/** What all ways through a batch begin with. */
function begin(g: Graph, context: TrainContext, data: StepData, { averaged, masks }: Omit<StepOptions, 'train'>) {
  const { model, layers, parameters, opening } = context;
  const { batch, sequences } = data;
  const inputs = streamInputs(g, batch, opening, model.ropeFactors);
  const start = enter(g, context, data);
  const rows: number[] = [];
  const targets: number[] = [];
  const expected: Float32Array[] = [];
  const add = (held: boolean) =>
    batch.members.forEach((member, row) => {
      const sequence = sequences[member]!;
      if ((sequence.expected !== undefined) !== held) return;
      for (const position of sequence.targets) {
        rows.push(tokenIndex(batch, row, position - 1 - opening));
        if (!held) targets.push(sequence.tokens[position]!);
      }
      if (held) expected.push(sequence.expected!);
    });
  // What is learnt lies before what is held.
  add(false);
  add(true);
  const wanted = g.input('i32', [rows.length], Int32Array.from(rows));
  const { byLayer, slotOf } = parameters.views(g, averaged ? 'average' : 'values');
  const loras = new Map(
    layers.map(({ index }) => [index, withMasks(g, byLayer.get(index) ?? {}, index, start.ne[1], masks)]),
  );
  const run = (ops: Operations, from: Tensor, layer: TrainableLayer): Tensor => {
    const last = layer === layers.at(-1);
    const graph = new LayerGraph(ops, model.hyper, layer, loras.get(layer.index));
    return sharedBlock(graph, from, inputs, last ? wanted : undefined);
  };
  return { start, run, targets, expected, byLayer, slotOf };
}

/** Builds the graph of `trainStep`; returns the losses, chunk by chunk. */
function buildStep(g: Graph, context: TrainContext, data: StepData, options: StepOptions): Tensor[] {
  const { layers, parameters, recompute } = context;
  const { train, averaged, masks, hold = 1 } = options;
  const walk = begin(g, context, data, { averaged, masks: train ? masks : undefined });
  const { start, run, byLayer, slotOf } = walk;
  const sink = (tensor: Tensor, gradient: Tensor) => {
    const known = slotOf.get(tensor);
    if (known) g.run(parameters.accumulate(g, known.slot, known.factor, gradient));
  };
  const watch = (tape: Tape, layer: number) => {
    for (const { a, b } of Object.values(byLayer.get(layer) ?? {})) {
      tape.watch(a);
      tape.watch(b);
    }
  };

  let x = start;
  if (!train) {
    for (const layer of layers) x = run(g, x, layer);
    return head(g, context, x, walk).nll;
  }
  if (!recompute) {
    const tape = new Tape(g);
    for (const { index } of layers) watch(tape, index);
    for (const layer of layers) x = run(tape, x, layer);
    const { nll, gradient } = head(g, context, x, walk, hold);
    tape.backward(new Map([[x, gradient]]), sink);
    return nll;
  }
  const entered: Tensor[] = [];
  for (const layer of layers) {
    entered.push(x);
    x = run(g, x, layer);
    // Nodes are computed in the order in which they are added: forward first, so that what is not kept is freed.
    g.run(x);
  }
  const { nll, gradient } = head(g, context, x, walk, hold);
  let passed: Tensor | undefined = gradient;
  for (const layer of [...layers].reverse()) {
    const from = entered.pop()!;
    const tape = new Tape(g);
    watch(tape, layer.index);
    if (entered.length > 0) tape.watch(from);
    const seeds = new Map<Tensor, Tensor>([[run(tape, from, layer), passed!]]);
    passed = undefined;
    tape.backward(seeds, (tensor, part) => {
      if (tensor === from) passed = part;
      else sink(tensor, part);
    });
    if (passed) g.run(passed);
  }
  return nll;
}

/** The residual stream that enters the first of the layers: the sequences' tokens, and behind them those of the opening. */
function enter(g: Graph, { model, opening }: TrainContext, { batch, sequences, entering }: StepData): Tensor {
  const { embedding, embeddingScale } = model.hyper;
  if (entering) {
    const of = (values: Uint16Array) => {
      const stream = g.cast(g.input('f16', [embedding, values.length / embedding], values), 'f32');
      return embeddingScale === 1 ? stream : g.scale(stream, embeddingScale);
    };
    const own = of(entering.own);
    return entering.opening ? g.concat(own, of(entering.opening), 1) : own;
  }
  // Padding is token 0, whose results nobody reads.
  const own = batch.length * batch.members.length;
  const tokens = new Int32Array(own + opening);
  batch.members.forEach((member, row) => {
    tokens.set(sequences[member]!.tokens.subarray(opening), row * batch.length);
  });
  tokens.set(sequences[batch.members[0]!]!.tokens.subarray(0, opening), own);
  return model.embed(g, g.input('i32', [tokens.length], tokens));
}

/** A layer's factors with the masks of dropout if there are any. */
function withMasks(g: Graph, lora: LayerLora, layer: number, tokens: number, masks: Masks | undefined): LayerLora {
  if (!masks) return lora;
  const made = masks(g, layer, tokens);
  return Object.fromEntries(
    Object.entries(lora).map(([part, low]) => [part, { ...low, mask: made[part as keyof LayerLora] }]),
  );
}

/**
 * Loss and its gradient at the last residual stream, in chunks, so that no [targets x vocabulary] buffer is ever needed.
 * @param hold factor of the gradient of what is to stay as it was; undefined: no gradients
 */
function head(
  g: Graph,
  { model, labels }: TrainContext,
  x: Tensor,
  { targets, expected }: { targets: readonly number[]; expected: readonly Float32Array[] },
  hold?: number,
): { nll: Tensor[]; gradient: Tensor } {
  const nll: Tensor[] = [];
  let gradient: Tensor | undefined;
  const pass = (part: Tensor) => {
    g.run(part);
    gradient = gradient ? g.concat(gradient, part, 1) : part;
  };
  const { vocabulary, embedding } = model.hyper;
  const chunk = headChunk(vocabulary);
  for (let from = 0; from < targets.length; from += chunk) {
    const n = Math.min(chunk, targets.length - from);
    const part = labels.inGraph(
      g,
      g.rowsOf(x, from, n),
      g.input('i32', [n], Int32Array.from(targets.slice(from, from + n))),
    );
    nll.push(g.output(part.nll));
    if (hold !== undefined) pass(part.gradient);
  }
  let at = targets.length;
  for (const all of hold === undefined ? [] : expected) {
    for (let from = 0; from < all.length; from += chunk * embedding) {
      const rows = all.subarray(from, from + chunk * embedding);
      const n = rows.length / embedding;
      pass(g.scale(labels.towards(g, g.rowsOf(x, at, n), g.input('f32', [embedding, n], rows)), hold!));
      at += n;
    }
  }
  return { nll, gradient: gradient! };
}
