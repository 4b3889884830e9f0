import type { Linear } from '../ggml/linear.js';
import type { Tensor } from '../ggml/tensor.js';
import { type LayerLinear, type LayerNorm, layerLinears } from './architecture.js';
import type { Weights } from './weights.js';

/** The frozen weights of one transformer block, placed for computing. */
export class Layer implements Disposable {
  private constructor(
    readonly index: number,
    readonly linears: Readonly<Record<LayerLinear, Linear>>,
    readonly norms: Readonly<Record<LayerNorm, Tensor>>,
    readonly biases: Readonly<Partial<Record<LayerLinear, Tensor>>>,
    private readonly owned: Disposable[],
    private readonly onDispose: () => void,
  ) {}

  static async load(
    weights: Weights,
    index: number,
    place: (name: string) => Promise<Linear> = (tensor) => weights.linear(tensor),
  ): Promise<Layer> {
    const owned: Disposable[] = [];
    const name = (part: string, kind = 'weight') => `blk.${index}.${part}.${kind}`;
    const plain = async (tensorName: string) => {
      const { tensor, buffer } = await weights.plain(tensorName);
      owned.push(buffer);
      return tensor;
    };
    try {
      const linears: Partial<Record<LayerLinear, Linear>> = {};
      const biases: Partial<Record<LayerLinear, Tensor>> = {};
      for (const part of layerLinears) {
        const linear = await place(name(part));
        owned.push(linear);
        linears[part] = linear;
        if (weights.has(name(part, 'bias'))) biases[part] = await plain(name(part, 'bias'));
      }
      const norms = {
        attn_norm: await plain(name('attn_norm')),
        ffn_norm: await plain(name('ffn_norm')),
      };
      const names = layerLinears.map((part) => name(part));
      return new Layer(index, linears as Record<LayerLinear, Linear>, norms, biases, owned, () =>
        weights.release(names),
      );
    } catch (error) {
      for (const item of owned) item[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    for (const item of this.owned.splice(0)) item[Symbol.dispose]();
    this.onDispose();
  }
}
