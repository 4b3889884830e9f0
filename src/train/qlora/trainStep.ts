import type { Graph, Workspace } from '../../engine/graph.js';
import type { Operations } from '../../engine/operations.js';
import type { Linear } from '../../engine/placement.js';
import type { Tensor } from '../../engine/tensor.js';
import { type Batch, sharedBlock, streamInputs, tokenIndex } from '../../model/batch.js';
import type { BlockWeights, Layer, LayerLora, Linears } from '../../model/block.js';
import type { LabelGradient } from '../../model/labelGradient.js';
import { headChunk, type Model, type TransposedType } from '../../model/model.js';
import type { LoraParameters } from './parameters.js';
import { Tape } from './tape.js';

/** A sequence to train on. */
export interface TrainSequence {
  readonly tokens: Int32Array;
  /** Positions of the tokens to be learnt, none of them 0. */
  readonly targets: Int32Array;
}

/** What a step computes with. */
export interface TrainContext {
  readonly model: Model;
  readonly workspace: Workspace;
  /** The layers that a gradient passes, in order; the last one is the model's last. */
  readonly layers: readonly TrainableLayer[];
  readonly parameters: LoraParameters;
  readonly labels: LabelGradient;
  /** Layers whose activations are computed again in the backward pass, instead of kept from the forward pass. */
  readonly recompute: boolean;
  /** Tokens that all sequences begin with. */
  readonly opening: number;
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

/**
 * One batch forward and, where `train` is set, backward: the gradient of Σ log p(target) is added to the parameters' gradients. With
 * `averaged` the mean of the values over the steps is used instead of the values.
 * @returns -log p of each target in nats, member by member
 */
export async function trainStep(
  context: TrainContext,
  batch: Batch,
  sequences: readonly TrainSequence[],
  entering: Entering,
  options: { train: boolean; averaged?: boolean; masks?: Masks; signal?: AbortSignal },
): Promise<Float32Array> {
  const g = context.workspace.begin();
  const nll = buildStep(g, context, batch, sequences, entering, options);
  await g.compute(options.signal);
  const out: number[] = [];
  for (const tensor of nll) out.push(...tensor.toFloat32());
  return Float32Array.from(out);
}

/** Builds the graph of `trainStep`; returns the losses, chunk by chunk. */
function buildStep(
  g: Graph,
  context: TrainContext,
  batch: Batch,
  sequences: readonly TrainSequence[],
  entering: Entering,
  { train, averaged, masks }: { train: boolean; averaged?: boolean; masks?: Masks },
): Tensor[] {
  const { model, layers, parameters, recompute, labels, opening } = context;
  const { hyper } = model;
  const inputs = streamInputs(g, batch, opening, model.ropeFactors);
  const start = enter(g, model, batch, sequences, opening, entering);
  const rows: number[] = [];
  const targets: number[] = [];
  batch.members.forEach((member, row) => {
    const { tokens, targets: positions } = sequences[member]!;
    for (const position of positions) {
      rows.push(tokenIndex(batch, row, position - 1 - opening));
      targets.push(tokens[position]!);
    }
  });
  const wanted = g.input('i32', [rows.length], Int32Array.from(rows));
  const { byLayer, slotOf } = parameters.views(g, averaged ? 'average' : 'values');
  const loras = new Map(
    layers.map(({ index }) => [
      index,
      withMasks(g, byLayer.get(index) ?? {}, index, start.ne[1], train ? masks : undefined),
    ]),
  );
  const run = (ops: Operations, from: Tensor, layer: TrainableLayer): Tensor => {
    const last = layer === layers.at(-1);
    return sharedBlock(ops, hyper, layer, from, inputs, loras.get(layer.index), last ? wanted : undefined);
  };
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
    return head(g, labels, x, targets, hyper.vocabulary, false).nll;
  }
  if (!recompute) {
    const tape = new Tape(g);
    for (const { index } of layers) watch(tape, index);
    for (const layer of layers) x = run(tape, x, layer);
    const { nll, gradient } = head(g, labels, x, targets, hyper.vocabulary, true);
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
  const { nll, gradient } = head(g, labels, x, targets, hyper.vocabulary, true);
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
function enter(
  g: Graph,
  model: Model,
  batch: Batch,
  sequences: readonly TrainSequence[],
  opening: number,
  entering: Entering,
): Tensor {
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

/** A layer's factors with the masks of dropout where there are any. */
function withMasks(g: Graph, lora: LayerLora, layer: number, tokens: number, masks: Masks | undefined): LayerLora {
  if (!masks) return lora;
  const made = masks(g, layer, tokens);
  return Object.fromEntries(
    Object.entries(lora).map(([part, low]) => [part, { ...low, mask: made[part as keyof LayerLora] }]),
  );
}

/** Loss and its gradient at the last residual stream, in chunks, so that no [targets x vocabulary] buffer is ever needed. */
function head(
  g: Graph,
  labels: LabelGradient,
  x: Tensor,
  targets: readonly number[],
  vocabulary: number,
  train: boolean,
): { nll: Tensor[]; gradient: Tensor } {
  const nll: Tensor[] = [];
  let gradient: Tensor | undefined;
  const chunk = headChunk(vocabulary);
  for (let from = 0; from < targets.length; from += chunk) {
    const n = Math.min(chunk, targets.length - from);
    const part = labels.inGraph(
      g,
      g.rowsOf(x, from, n),
      g.input('i32', [n], Int32Array.from(targets.slice(from, from + n))),
    );
    nll.push(g.output(part.nll));
    if (!train) continue;
    g.run(part.gradient);
    gradient = gradient ? g.concat(gradient, part.gradient, 1) : part.gradient;
  }
  return { nll, gradient: gradient! };
}

/**
 * A frozen weight that gradients can pass: forward in its own layout, backward by a product with its transpose. ggml's own way
 * (`out_prod` on quantised data) would dequantise every row for every token, at a twentieth of the speed.
 */
class TwoWayLinear implements Linear {
  constructor(
    private readonly forward: Linear,
    private readonly transposed: Linear,
  ) {}
  get inputs(): number {
    return this.forward.inputs;
  }
  get outputs(): number {
    return this.forward.outputs;
  }
  get placement(): string {
    return this.forward.placement;
  }
  apply(ops: Operations, x: Tensor): Tensor {
    return ops instanceof Tape ? ops.frozen(this.forward, this.transposed, x) : this.forward.apply(ops, x);
  }
  [Symbol.dispose](): void {
    this.transposed[Symbol.dispose]();
  }
}

/** A layer with all that its gradients need. */
export class TrainableLayer implements BlockWeights, Disposable {
  private constructor(
    private readonly layer: Layer,
    readonly linears: Linears,
  ) {}

  get index(): number {
    return this.layer.index;
  }
  get norms() {
    return this.layer.norms;
  }
  get biases() {
    return this.layer.biases;
  }

  static async load(
    model: Model,
    workspace: Workspace,
    index: number,
    type: TransposedType,
    signal?: AbortSignal,
  ): Promise<TrainableLayer> {
    const layer = await model.layerToTrain(index, workspace, signal);
    try {
      const transposed = await model.transposedLinears(index, type, workspace, signal);
      const linears: Linears = Object.fromEntries(
        Object.entries(layer.linears).map(([part, forward]) => [
          part,
          new TwoWayLinear(forward, transposed[part as keyof Linears]!),
        ]),
      );
      return new TrainableLayer(layer, linears);
    } catch (error) {
      layer[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    for (const linear of Object.values(this.linears)) linear[Symbol.dispose]();
    this.layer[Symbol.dispose]();
  }
}
