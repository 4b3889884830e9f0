import type { Graph } from '../../engine/graph.js';
import type { Operations } from '../../engine/operations.js';
import type { Tensor } from '../../engine/tensor.js';
import type { LayerLinear } from '../../families/family.js';
import { paddedTokens, type StreamInputs, sharedBlock, streamInputs, tokenIndex } from '../../model/batch.js';
import { type BlockWeights, LayerGraph, type LayerLora, type Product } from '../../model/block.js';
import { streamWidth } from '../../model/hyperparameters.js';
import { headChunk } from '../../model/model.js';
import type { LoraParameters } from './parameters.js';
import { Tape } from './tape.js';
import type { TrainableLayer } from './trainable.js';
import type { Masks, StepData, StepOptions, TrainContext } from './trainStep.js';

/** The way of a batch through the trained layers, one graph a layer, and of its gradient back. */

/** A batch on its way through the layers and back. */
export class Pass {
  private readonly tokens: number;
  /** The sequences' tokens, padded, and behind them those of the opening. */
  private readonly ids: Int32Array;
  /** Places in the padded batch of what predicts a target: first what is learnt, then what is held. */
  private readonly rows: Int32Array;
  private readonly targets: Int32Array;
  private readonly held: readonly Float32Array[];

  constructor(
    private readonly context: TrainContext,
    private readonly data: StepData,
    private readonly how: Pick<StepOptions, 'train' | 'averaged' | 'masks'>,
  ) {
    const { opening, streams, products, layers } = context;
    const { batch, sequences } = data;
    const tokensOf = (member: number) => sequences[member]!.tokens;
    const first = tokensOf(batch.members[0]!).subarray(0, opening);
    this.ids = paddedTokens(batch, (member) => tokensOf(member).subarray(opening), first);
    this.tokens = this.ids.length;
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
    add(false);
    add(true);
    this.rows = Int32Array.from(rows);
    this.targets = Int32Array.from(targets);
    this.held = expected;
    streams.reserve(layers.length, this.tokens);
    if (how.train) products.reserve(layers.length, this.tokens);
  }

  private get last(): TrainableLayer {
    return this.context.layers.at(-1)!;
  }

  /** Place among the trained layers. */
  private placeOf(layer: TrainableLayer): number {
    return layer.index - this.context.layers[0]!.index;
  }

  /** What enters a layer. */
  private entering(g: Graph, layer: TrainableLayer): Tensor {
    const place = this.placeOf(layer);
    return place === 0
      ? enter(g, this.context, this.data, this.ids)
      : this.context.streams.entering(g, place, this.tokens);
  }

  /** What all layers of a graph need of the batch. */
  private inputs(g: Graph): StreamInputs {
    const { model, opening } = this.context;
    return streamInputs(g, this.data.batch, g.input('i32', [this.tokens], this.ids), opening, model.ropeFactors);
  }

  /** The layer in a graph: what it does to a stream, and its factors. */
  private layer(g: Graph, layer: TrainableLayer, inputs: StreamInputs, weights: BlockWeights = layer) {
    const { model, parameters } = this.context;
    const { averaged, masks } = this.how;
    const { lora, slotOf } = parameters.views(g, layer.index, averaged ? 'average' : 'values');
    const masked = withMasks(g, lora, layer.index, this.tokens, masks);
    const wanted = layer === this.last ? g.input('i32', [this.rows.length], this.rows) : undefined;
    const run = (ops: Operations, x: Tensor) =>
      sharedBlock(new LayerGraph(ops, model.hyper, weights, masked), x, inputs, wanted);
    return { run, lora, slotOf };
  }

  /** A layer whose products are kept on the way there, as far as there is room for them, and taken from there on the way back. */
  private keeping(g: Graph, layer: TrainableLayer, way: 'there' | 'back'): BlockWeights {
    const { products } = this.context;
    if (!this.how.train) return layer;
    const place = this.placeOf(layer);
    const linears = Object.entries(layer.linears).map(([part, linear]): [string, Product] => {
      const kept = products.at(g, { place, layer: layer.index, part: part as LayerLinear });
      if (!kept) return [part, linear];
      if (way === 'back') return [part, { apply: (ops, x) => linear.by({ apply: () => kept }, ops, x) }];
      const apply: Product['apply'] = (ops, x) => {
        const y = linear.apply(ops, x);
        g.run(g.copy(y, kept));
        return y;
      };
      return [part, { apply }];
    });
    const { index, norms, biases, kernel, own } = layer;
    return { index, norms, biases, kernel, own, linears: Object.fromEntries(linears) };
  }

  /** Through layers that follow one another, the last of all not among them. */
  async forward(group: readonly TrainableLayer[]): Promise<void> {
    const g = this.context.workspace.begin();
    const inputs = this.inputs(g);
    let x = this.entering(g, group[0]!);
    for (const layer of group) {
      x = this.layer(g, layer, inputs, this.keeping(g, layer, 'there')).run(g, x);
      // Nodes are computed in the order in which they are added, so that what is not kept is freed layer by layer.
      x = this.context.streams.keep(g, this.placeOf(layer) + 1, x);
    }
    await this.compute(g, group);
  }

  /**
   * Through the last layer, the head and, if gradients are taken, the last layer backward.
   * @param hold factor of the gradient of what is to stay as it was; undefined: no gradients
   * @returns -log p of each target
   */
  async turn(hold?: number): Promise<Float32Array> {
    const { last } = this;
    const g = this.context.workspace.begin();
    const from = this.entering(g, last);
    const at = this.layer(g, last, this.inputs(g));
    const tape = hold === undefined ? undefined : this.tape(g, last, from, at.lora);
    const x = at.run(tape ?? g, from);
    const { nll, gradient } = head(g, this.context, x, { targets: this.targets, expected: this.held }, hold);
    if (tape) this.pass(g, this.down(g, tape, new Map([[x, gradient]]), { from, ...at }));
    await this.compute(g, [last]);
    return valuesOf(nll);
  }

  /**
   * Mean rows of the head at the targets, under what is predicted there and, with the weight `taught`, the targets themselves:
   * [embedding, targets].
   */
  async expected(taught: number): Promise<Float32Array> {
    const { workspace, labels, model } = this.context;
    const { vocabulary } = model.hyper;
    const g = workspace.begin();
    const x = this.layer(g, this.last, this.inputs(g)).run(g, this.entering(g, this.last));
    const chunk = headChunk(vocabulary);
    const parts: Tensor[] = [];
    for (let from = 0; from < this.rows.length; from += chunk) {
      const n = Math.min(chunk, this.rows.length - from);
      const targets = g.input('i32', [n], this.targets.slice(from, from + n));
      parts.push(g.output(labels.expectedRow(g, g.rowsOf(x, from, n), { labels: targets, weight: taught })));
    }
    await this.compute(g, [this.last]);
    return valuesOf(parts);
  }

  /** Back through layers that follow one another, given from the first to the last. */
  async backward(group: readonly TrainableLayer[]): Promise<void> {
    const { workspace, streams } = this.context;
    const g = workspace.begin();
    const inputs = this.inputs(g);
    let gradient: Tensor | undefined = streams.gradient(g, this.tokens);
    for (const layer of [...group].reverse()) {
      const from = this.entering(g, layer);
      const at = this.layer(g, layer, inputs, this.keeping(g, layer, 'back'));
      const tape = this.tape(g, layer, from, at.lora);
      const out = at.run(tape, from);
      gradient = this.down(g, tape, new Map([[out, gradient!]]), { from, ...at });
      if (gradient) g.run(gradient);
    }
    this.pass(g, gradient);
    await this.compute(g, group);
  }

  private tape(g: Graph, layer: TrainableLayer, from: Tensor, lora: LayerLora): Tape {
    const tape = new Tape(g);
    for (const { a, b } of Object.values(lora)) {
      tape.watch(a);
      tape.watch(b);
    }
    if (this.placeOf(layer) > 0) tape.watch(from);
    return tape;
  }

  /** Adds the factors' gradients to theirs. @returns that of the stream that enters the layer; undefined below the first */
  private down(
    g: Graph,
    tape: Tape,
    seeds: ReadonlyMap<Tensor, Tensor>,
    { from, slotOf }: { from: Tensor } & Pick<ReturnType<LoraParameters['views']>, 'slotOf'>,
  ): Tensor | undefined {
    const { parameters } = this.context;
    let passed: Tensor | undefined;
    tape.backward(seeds, (tensor, gradient) => {
      const known = slotOf.get(tensor);
      if (known) g.run(parameters.accumulate(g, known.slot, known.factor, gradient));
      else if (tensor === from) passed = gradient;
    });
    return passed;
  }

  /** Leaves a gradient for the layers below: last of all, since it takes the place of the one that all was computed from. */
  private pass(g: Graph, gradient: Tensor | undefined): void {
    if (gradient) g.run(g.copy(gradient, this.context.streams.gradient(g, this.tokens)));
  }

  private async compute(g: Graph, layers: readonly TrainableLayer[]): Promise<void> {
    await g.compute(this.context.signal);
    for (const layer of layers) layer.release();
  }
}

/** The values of outputs, one after the other. */
function valuesOf(parts: readonly Tensor[]): Float32Array {
  const values = new Float32Array(parts.reduce((sum, { elements }) => sum + elements, 0));
  let at = 0;
  for (const part of parts) {
    part.read(values.subarray(at, at + part.elements));
    at += part.elements;
  }
  return values;
}

/** The residual stream that enters the first of the layers: the sequences' tokens, and behind them those of the opening. */
function enter(g: Graph, { model }: TrainContext, { entering }: StepData, ids: Int32Array): Tensor {
  const { embeddingScale } = model.hyper;
  const width = streamWidth(model.hyper);
  if (entering) {
    const of = (values: Uint16Array) => {
      const stream = g.cast(g.input('f16', [width, values.length / width], values), 'f32');
      return embeddingScale === 1 ? stream : g.scale(stream, embeddingScale);
    };
    const own = of(entering.own);
    return entering.opening ? g.concat(own, of(entering.opening), 1) : own;
  }
  return model.embed(g, g.input('i32', [ids.length], ids));
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
  { targets, expected }: { targets: Int32Array; expected: readonly Float32Array[] },
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
    const part = labels.inGraph(g, g.rowsOf(x, from, n), g.input('i32', [n], targets.slice(from, from + n)));
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
