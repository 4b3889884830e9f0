import { type Family, usualLayer } from './family.js';

/** ERNIE 4.5, dense: Llama's layer; its folders rotate neighbours too (llama.cpp, src/models/ernie4-5.cpp, conversion/ernie.py). */
export const ernie4_5: Family = {
  name: 'ernie4_5',
  title: 'ERNIE 4.5',
  layer: usualLayer({ biases: 'possible' }),
  block: { rope: 'norm', activation: 'swiglu' },
  template: {
    marker: '<|begin_of_sentence|>',
    source:
      "{{ '<|begin_of_sentence|>' }}{% for message in messages %}{% if message.role == 'user' %}{{ 'User: ' + message.content + '\\n' }}" +
      "{% elif message.role == 'assistant' %}{{ 'Assistant: ' + message.content + '<|end_of_sentence|>' }}" +
      "{% else %}{{ message.content + '\\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}",
  },
  huggingFace: {
    classes: ['Ernie4_5ForCausalLM', 'Ernie4_5_ForCausalLM'],
    modelTypes: ['ernie4_5'],
    defaults: {
      layers: 18,
      embedding: 1024,
      heads: 16,
      kvHeads: 2,
      headDim: 128,
      feedForward: 3072,
      vocabulary: 103424,
      context: 131072,
      tied: true,
      normEpsilon: 1e-5,
      ropeBase: 500_000,
    },
    headLengths: 'always',
    tokenizer: { spacePrefix: 'stated last' },
  },
};
