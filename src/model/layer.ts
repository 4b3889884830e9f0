import type { Linear } from '../ggml/linear.js';
import type { Tensor } from '../ggml/tensor.js';
import {
  type Architecture,
  type InputNorm,
  type LayerLinear,
  type LayerNorm,
  layerLinears,
  layerNorms,
} from './architecture.js';
import type { Weights } from './weights.js';

/** Weights of a layer's norms, f32: [headDim] for those of heads, else [embedding]. */
export type LayerNorms = Readonly<Record<InputNorm, Tensor> & Partial<Record<LayerNorm, Tensor>>>;

/** The frozen weights of one transformer block, placed for computing. */
export class Layer implements Disposable {
  private constructor(
    readonly index: number,
    readonly linears: Readonly<Record<LayerLinear, Linear>>,
    readonly norms: LayerNorms,
    readonly biases: Readonly<Partial<Record<LayerLinear, Tensor>>>,
    private readonly owned: Disposable[],
    private readonly onDispose: () => void,
  ) {}

  static async load(
    weights: Weights,
    architecture: Architecture,
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
        if (architecture.biases.includes(part) && weights.has(name(part, 'bias')))
          biases[part] = await plain(name(part, 'bias'));
      }
      const norms: Partial<Record<LayerNorm, Tensor>> = {};
      for (const norm of layerNorms(architecture)) norms[norm] = await plain(name(norm));
      const names = layerLinears.map((part) => name(part));
      return new Layer(index, linears as Record<LayerLinear, Linear>, norms as LayerNorms, biases, owned, () =>
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
