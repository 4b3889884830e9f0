import type { Tensor } from '../ggml/tensor.js';
import type { TensorBuffer } from '../ggml/tensorBuffer.js';
import type { Workspace } from '../ggml/workspace.js';
import { batchInputs } from '../model/batch.js';
import { afterAttention, afterFeedForward, attend, feedForward, type LayerLora } from '../model/block.js';
import type { Layer } from '../model/layer.js';
import type { Model } from '../model/model.js';

/** Tokens of a prefix computed at once: bounds the memory of a long prefix; each chunk attends to the ones before it. */
const chunkTokens = 1024;

/**
 * The shared prefix of a teacher (the user's own examples in its context): walked once through the layers, leaving its keys and
 * values of the current layer for every example to attend to.
 */
export class Prefix implements Disposable {
  private readonly hidden: Float32Array;
  private readonly buffer: TensorBuffer;
  private readonly keys: Tensor;
  private readonly values: Tensor;

  private constructor(
    private readonly model: Model,
    readonly tokens: Int32Array,
  ) {
    const { embedding, headDim, kvHeads } = model.hyper;
    this.hidden = new Float32Array(tokens.length * embedding);
    this.buffer = model.engine.buffer(2);
    this.keys = this.buffer.tensor('f32', [headDim, tokens.length, kvHeads]);
    this.values = this.buffer.tensor('f32', [headDim, tokens.length, kvHeads]);
    this.buffer.allocate({ zero: true });
  }

  static async create(model: Model, workspace: Workspace, tokens: Int32Array, signal?: AbortSignal): Promise<Prefix> {
    const self = new Prefix(model, tokens);
    const g = workspace.begin();
    const x = g.output(model.embed(g, g.input('i32', [tokens.length], tokens)));
    await g.compute(signal);
    x.read(self.hidden);
    return self;
  }

  /** Keys and values of the layer that was walked last, f32 [headDim, tokens, kvHeads]. */
  get keysValues(): { keys: Tensor; values: Tensor } {
    return { keys: this.keys, values: this.values };
  }

  /** Walks through one layer. */
  async advance(workspace: Workspace, layer: Layer, lora?: LayerLora, signal?: AbortSignal): Promise<void> {
    const { hyper, ropeFactors } = this.model;
    const { embedding, headDim, kvHeads } = hyper;
    for (let start = 0; start < this.tokens.length; start += chunkTokens) {
      const length = Math.min(chunkTokens, this.tokens.length - start);
      const block = this.hidden.subarray(start * embedding, (start + length) * embedding);
      const g = workspace.begin();
      const part = (tensor: Tensor, from: number, count: number) =>
        g.view(tensor, [headDim, count, kvHeads], {
          offset: from * tensor.nb[1],
          strides: [tensor.nb[1], tensor.nb[2]],
        });
      const before = start === 0 ? undefined : { keys: part(this.keys, 0, start), values: part(this.values, 0, start) };
      const batch = { members: [0], length, lengths: [length] };
      const x = g.input('f32', [embedding, length], block);
      const attention = attend(g, hyper, layer, x, batchInputs(g, batch, ropeFactors, before), lora);
      const store = (from: Tensor, to: Tensor) =>
        g.run(g.copy(g.permute(g.reshape(from, headDim, kvHeads, length), 0, 2, 1, 3), part(to, start, length)));
      store(attention.keys, this.keys);
      store(attention.values, this.values);
      const middle = afterAttention(g, hyper, layer, x, attention.context, lora);
      const out = g.output(afterFeedForward(g, hyper, layer, middle, feedForward(g, hyper, layer, middle, lora), lora));
      await g.compute(signal);
      out.read(block);
    }
  }

  [Symbol.dispose](): void {
    this.buffer[Symbol.dispose]();
  }
}
