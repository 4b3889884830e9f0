import { u32 } from '../formats/gguf/values.js';
import { type Family, usualLayer } from './family.js';
import { type Entry, type HfConfig, type HfSettings, limits, type Own } from './huggingFace.js';

/** Llama 2, 3 and 3.x, and what is built like them: TinyLlama, SmolLM2 (llama.cpp, src/models/llama.cpp, conversion/llama.py). */
export const llama: Family = {
  name: 'llama',
  title: 'Llama',
  layer: usualLayer({ interleaved: true, biases: 'possible', moreBiases: 'possible' }),
  block: { rope: 'norm', ropeFactors: ['rope_freqs'], activation: 'swiglu' },
  huggingFace: {
    classes: ['LlamaForCausalLM', 'LLaMAForCausalLM'],
    modelTypes: ['llama', 'mistral'],
    defaults: {
      layers: 32,
      embedding: 4096,
      heads: 32,
      feedForward: 11008,
      vocabulary: 32000,
      context: 2048,
      tied: false,
    },
    ropeScalings: ['llama3'],
    headLengths: 'always',
    // The vocabulary of SmolLM and Granite has 49,152 tokens.
    tokenizer: { spacePrefix: 'stated', startlessVocabulary: 49152 },
    own: llamaOwn,
  },
};

/** What is written of Llama and of what is built like it. */
export function llamaOwn(_config: HfConfig, { vocabulary, headDim, rope, context }: HfSettings): Own {
  const metadata = (common: readonly Entry[]): Entry[] => [
    ...common,
    ['vocab_size', u32(vocabulary)],
    ['rope.dimension_count', u32(headDim)],
  ];
  const options = rope.own?.options;
  if (!options) return { metadata };
  const scaling = {
    factor: options.positive('factor', 8),
    lowFrequencyFactor: options.positive('low_freq_factor', 1),
    highFrequencyFactor: options.positive('high_freq_factor', 4),
    originalContext: options.whole('original_max_position_embeddings', limits.context, context),
  };
  return { metadata, tensors: [{ name: 'rope_freqs', values: ropeFactors(scaling, rope.base, headDim) }] };
}

/** Frequencies slowed where their wave is longer than the trained context. */
interface Llama3Scaling {
  readonly factor: number;
  readonly lowFrequencyFactor: number;
  readonly highFrequencyFactor: number;
  readonly originalContext: number;
}

const f = Math.fround;

/** A number divided by a tensor, as torch does it. */
const over = (x: number, y: number) => f(f(1 / y) * f(x));

/**
 * By how much each frequency of Llama 3.1 and later is slowed: f32 [headDim / 2], the tensor `rope_freqs`. In single precision, step by
 * step as llama.cpp's converter computes it with torch (conversion/llama.py, generate_extra_tensors).
 */
export function ropeFactors(scaling: Llama3Scaling, base: number, headDim: number): Float32Array {
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalContext } = scaling;
  const factors = new Float32Array(headDim / 2);
  for (let i = 0; i < factors.length; i++) {
    const frequency = over(1, f(f(base) ** f((2 * i) / headDim)));
    const wavelength = over(2 * Math.PI, frequency);
    if (wavelength < f(originalContext / high)) factors[i] = 1;
    else if (wavelength > f(originalContext / low)) factors[i] = factor;
    else {
      const smooth = f(f(over(originalContext, wavelength) - low) / f(high - low));
      factors[i] = over(1, f(f(f(1 - smooth) / factor) + smooth));
    }
  }
  return factors;
}
