import { type Family, usualLayer } from './family.js';

/** Qwen2 and Qwen2.5 (llama.cpp, src/models/qwen2.cpp, conversion/qwen.py). */
export const qwen2: Family = {
  name: 'qwen2',
  title: 'Qwen2',
  layer: usualLayer({ biases: 'usual' }),
  block: { rope: 'neox', activation: 'swiglu' },
  huggingFace: {
    classes: ['Qwen2ForCausalLM'],
    modelTypes: ['qwen2'],
    defaults: {
      layers: 32,
      embedding: 4096,
      heads: 32,
      kvHeads: 32,
      feedForward: 22016,
      vocabulary: 151936,
      context: 32768,
      tied: false,
    },
    unfollowedWindows: 'switched',
    headLengths: 'stated',
  },
};
