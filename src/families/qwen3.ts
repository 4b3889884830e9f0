import { type Family, usualLayer } from './family.js';

/** Qwen3, dense (llama.cpp, src/models/qwen3.cpp, conversion/qwen.py). */
export const qwen3: Family = {
  name: 'qwen3',
  title: 'Qwen3',
  layer: usualLayer({ biases: 'possible', headNorms: true }),
  block: { rope: 'neox', activation: 'swiglu' },
  huggingFace: {
    classes: ['Qwen3ForCausalLM'],
    modelTypes: ['qwen3'],
    defaults: {
      layers: 32,
      embedding: 4096,
      heads: 32,
      kvHeads: 32,
      headDim: 128,
      feedForward: 22016,
      vocabulary: 151936,
      context: 32768,
      tied: false,
    },
    unfollowedWindows: 'switched',
    headLengths: 'always',
  },
};
