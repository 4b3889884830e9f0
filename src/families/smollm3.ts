import { UnsupportedError } from '../base/errors.js';
import { type Family, usualLayer } from './family.js';
import type { HfConfig, HfSettings, Own } from './huggingFace.js';
import { llama, llamaOwn } from './llama.js';

/** SmolLM3: Llama's layer, and every fourth one knows no positions (llama.cpp, src/models/smollm3.cpp; NoPE, Kazemnejad et al. 2023). */
export const smollm3: Family = {
  name: 'smollm3',
  title: 'SmolLM3',
  layer: usualLayer({ interleaved: true, biases: 'possible' }),
  block: { rope: 'norm', activation: 'swiglu', unrotated: 4 },
  huggingFace: {
    ...llama.huggingFace,
    classes: ['SmolLM3ForCausalLM'],
    modelTypes: ['smollm3'],
    defaults: {
      layers: 36,
      embedding: 2048,
      heads: 16,
      kvHeads: 4,
      feedForward: 11008,
      vocabulary: 128256,
      context: 32768,
      tied: true,
      ropeBase: 2_000_000,
    },
    ropeScalings: [],
    headLengths: 'stated',
    own,
  },
};

/** llama.cpp computes one order of layers with and without positions, and no windows. */
function own(config: HfConfig, settings: HfSettings): Own {
  const { layers, where } = settings;
  const rotated = config.raw('no_rope_layers');
  const interval = config.whole('no_rope_layer_interval', layers, 4);
  const asExpected = Array.isArray(rotated)
    ? rotated.length === layers && rotated.every((value, i) => Boolean(value) === ((i + 1) % 4 !== 0))
    : interval === 4;
  const types = config.raw('layer_types');
  const windowed = Array.isArray(types) && types.includes('sliding_attention');
  if (!asExpected || windowed) {
    throw new UnsupportedError({
      found: windowed ? 'layers with a sliding window' : 'another order of layers with and without positions',
      expected: 'every fourth layer without positions and none with a window, as llama.cpp computes SmolLM3',
      where,
    });
  }
  return llamaOwn(config, settings);
}
