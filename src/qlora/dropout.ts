import type { Graph } from '../ggml/graph.js';
import type { Tensor } from '../ggml/tensor.js';
import type { LayerLinear } from '../model/architecture.js';
import type { Hyperparameters } from '../model/hyperparameters.js';
import { linearShape } from '../model/hyperparameters.js';
import { hash32 } from '../util/random.js';
import type { Masks } from './trainStep.js';

/** Linears that read the same activations share a mask. */
const inputOf: Record<LayerLinear, number> = {
  attn_q: 0,
  attn_k: 0,
  attn_v: 0,
  attn_output: 1,
  ffn_gate: 2,
  ffn_up: 2,
  ffn_down: 3,
};

/** Masks of LoRA dropout (Srivastava et al. 2014): a pure function of (seed, step, micro-batch). */
export function dropoutMasks(
  h: Hyperparameters,
  modules: readonly LayerLinear[],
  rate: number,
  words: { seed: number; step: number; micro: number },
): Masks {
  const threshold = rate * 0x1_0000_0000;
  const kept = 1 / (1 - rate);
  return (g: Graph, layer: number, tokens: number) => {
    const made = new Map<number, Tensor>();
    const mask = (module: LayerLinear) => {
      const which = inputOf[module];
      const known = made.get(which);
      if (known) return known;
      const [inputs] = linearShape(h, module);
      const values = new Float32Array(inputs * tokens);
      // xorshift32 (Marsaglia 2003): a hash for every value would cost more than the layer.
      let state = hash32(words.seed, words.step, words.micro, layer, which) || 1;
      for (let i = 0; i < values.length; i++) {
        state ^= state << 13;
        state ^= state >>> 17;
        state ^= state << 5;
        values[i] = state >>> 0 >= threshold ? kept : 0;
      }
      const tensor = g.input('f32', [inputs, tokens], values);
      made.set(which, tensor);
      return tensor;
    };
    return Object.fromEntries(modules.map((module) => [module, mask(module)]));
  };
}
