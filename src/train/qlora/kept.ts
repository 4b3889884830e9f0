import type { Graph } from '../../engine/graph.js';
import type { Operations } from '../../engine/operations.js';
import type { Tensor, TensorBuffer } from '../../engine/tensor.js';
import { hasPostNorms, type LayerLinear, linearsAt, linearsOf } from '../../families/family.js';
import { linearShape, streamWidth } from '../../model/hyperparameters.js';
import type { Model } from '../../model/model.js';

/** What of a batch is kept between its way through the layers and back. */

/** In f16 a sixteenth of a stream is kept: some models have values of 1e5 in a few places, which f16 itself does not reach. */
const streamScale = 1 / 16;

/** How streams are kept; f32 where nothing is to be rounded. */
export type StreamType = 'f16' | 'f32';

/**
 * Residual streams between the layers of a batch, [streamWidth, tokens], and the gradient on its way back, the same in f32: as many
 * tokens as the largest batch so far has had.
 */
export class Streams implements Disposable {
  private buffer: TensorBuffer | undefined;
  private tensors: Tensor[] = [];

  constructor(
    private readonly model: Model,
    private readonly type: StreamType,
  ) {}

  /** Makes room for batches of so many tokens on their way through so many layers. What was kept is lost. */
  reserve(layers: number, tokens: number): void {
    if (layers === 1 || (layers <= this.tensors.length && tokens <= this.tensors[0]!.ne[1])) return;
    this[Symbol.dispose]();
    const buffer = this.model.engine.buffer(layers);
    const width = streamWidth(this.model.hyper);
    const typeAt = (place: number) => (place === 0 ? 'f32' : this.type);
    this.tensors = Array.from({ length: layers }, (_, place) => buffer.tensor(typeAt(place), [width, tokens]));
    this.buffer = buffer.allocate();
  }

  /** Keeps what enters the trained layer `place`, not the first. @returns what `entering` gives */
  keep(g: Graph, place: number, x: Tensor): Tensor {
    const kept = this.at(g, place, x.ne[1]);
    g.run(g.copy(this.type === 'f16' ? g.scale(x, this.scale) : x, kept));
    return this.entering(g, place, x.ne[1]);
  }

  /** What enters the trained layer `place`, not the first, f32. */
  entering(ops: Operations, place: number, tokens: number): Tensor {
    const kept = this.at(ops, place, tokens);
    return this.type === 'f16' ? ops.scale(ops.cast(kept, 'f32'), 1 / this.scale) : kept;
  }

  /** Where the gradient of what the next layer to be passed puts out is kept, f32. */
  gradient(ops: Operations, tokens: number): Tensor {
    return this.at(ops, 0, tokens);
  }

  private get scale(): number {
    return streamScale / this.model.hyper.embeddingScale;
  }

  private at(ops: Operations, place: number, tokens: number): Tensor {
    const tensor = this.tensors[place]!;
    const width = tensor.ne[0];
    const [row, all] = [tensor.nb[1], tensor.nb[1] * tokens];
    return ops.view(tensor, [width, tokens], { strides: [row, all, all] });
  }

  [Symbol.dispose](): void {
    this.buffer?.[Symbol.dispose]();
    this.buffer = undefined;
    this.tensors = [];
  }
}

/** Bytes of a value that is kept, f32: what is computed again has the same bits, so that results don't depend on the room. */
const productBytes = 4;

/** Linears whose products are needed on the way back: the last one's is not. */
function keptLinears(model: Model): readonly LayerLinear[] {
  return linearsOf(model.hyper.family).filter((part) => part !== 'ffn_down' || hasPostNorms(model.hyper.family));
}

/** Outputs of a linear in the layer where it has the most; 0 where none has it. */
function outputsOf({ hyper }: Model, part: LayerLinear): number {
  const all = Array.from({ length: hyper.layers }, (_, layer) =>
    linearsAt(hyper, layer).includes(part) ? linearShape(hyper, part, layer)[1] : 0,
  );
  return Math.max(...all);
}

/** Bytes of a token's products in a layer. */
export function productsOfToken(model: Model): number {
  return keptLinears(model).reduce((sum, part) => sum + productBytes * outputsOf(model, part), 0);
}

/** How many of so many layers have their products kept in so many bytes: not the last, whose way back follows at once. */
export function keptLayers(model: Model, layers: number, tokens: number, bytes: number): number {
  return Math.min(layers - 1, Math.floor(bytes / (productsOfToken(model) * tokens)));
}

/**
 * Products of a batch's frozen weights of as many layers as there is room for: most of what a layer takes to compute again, in little
 * of the memory of all that is in between.
 */
export class Products implements Disposable {
  private buffer: TensorBuffer | undefined;
  private flat: Tensor | undefined;
  private tokens = 0;
  /** Places of the layers that are kept. */
  private from = 0;
  private to = 0;
  private readonly offsets = new Map<LayerLinear, number>();
  /** Bytes of a token's products in a layer. */
  private readonly ofToken: number;

  /** @param room bytes, at most */
  constructor(
    private readonly model: Model,
    private readonly room: number,
  ) {
    let at = 0;
    for (const part of keptLinears(model)) {
      this.offsets.set(part, at);
      at += outputsOf(model, part);
    }
    this.ofToken = productBytes * at;
  }

  /** Makes room for a batch of so many tokens on its way through so many layers. What was kept is lost. */
  reserve(layers: number, tokens: number): void {
    const count = keptLayers(this.model, layers, tokens, this.room);
    [this.from, this.to, this.tokens] = [layers - 1 - count, layers - 1, tokens];
    const values = (count * tokens * this.ofToken) / productBytes;
    if (values <= (this.flat?.elements ?? 0)) return;
    this[Symbol.dispose]();
    const buffer = this.model.engine.buffer(1);
    this.flat = buffer.tensor('f32', [values]);
    this.buffer = buffer.allocate();
  }

  /** Where products of a layer, the trained one `place`, are kept, f32 [outputs, tokens]; undefined: they are not. */
  at(ops: Operations, { place, layer, part }: { place: number; layer: number; part: LayerLinear }): Tensor | undefined {
    const { flat, tokens, from, to, model } = this;
    const first = this.offsets.get(part);
    if (!flat || first === undefined || place < from || place >= to) return undefined;
    const [, outputs] = linearShape(model.hyper, part, layer);
    const [row, all] = [productBytes * outputs, productBytes * outputs * tokens];
    const offset = tokens * ((place - from) * this.ofToken + productBytes * first);
    return ops.view(flat, [outputs, tokens], { offset, strides: [row, all, all] });
  }

  [Symbol.dispose](): void {
    this.buffer?.[Symbol.dispose]();
    this.buffer = undefined;
    this.flat = undefined;
  }
}
