import { UnsupportedError } from '../base/errors.js';
import { u32 } from '../formats/gguf/values.js';
import { type Family, type LayerRow, usualLayer } from './family.js';
import type { HfConfig, HfSettings, Own } from './huggingFace.js';
import { llamaOwn } from './llama.js';

/**
 * EXAONE 4.0 without windows, as the 1.2B model: norms stand behind attention and feed-forward only, and on each head's queries and keys
 * (llama.cpp, src/models/exaone4.cpp, conversion/exaone.py).
 */
export const exaone4: Family = {
  name: 'exaone4',
  title: 'EXAONE 4.0',
  layer: usualLayer({ biases: 'possible', headNorms: true }).flatMap((row): LayerRow[] => {
    if (row.name === 'attn_norm' || row.name === 'ffn_norm') return [];
    if (row.name === 'attn_output') {
      return [row, { name: 'post_attention_norm', module: 'post_attention_layernorm', width: 'embedding' }];
    }
    if (row.name !== 'ffn_down') return [row];
    return [row, { name: 'post_ffw_norm', module: 'post_feedforward_layernorm', width: 'embedding' }];
  }),
  block: {
    rope: 'neox',
    ropeFactors: ['rope_freqs'],
    activation: 'swiglu',
    layersUnlike: {
      layers: 64,
      otherwise: 'layers with a sliding window, which llama.cpp takes every model of 64 layers to have',
    },
  },
  template: {
    marker: '[|endofturn|]',
    source:
      "{% for message in messages %}{{ '[|' + message.role + '|]\\n' + message.content + ('\\n' if message.role == 'user' else '[|endofturn|]\\n') }}" +
      "{% endfor %}{% if add_generation_prompt %}{{ '[|assistant|]\\n' }}{% endif %}",
  },
  huggingFace: {
    classes: ['Exaone4ForCausalLM'],
    modelTypes: ['exaone4'],
    defaults: {
      layers: 32,
      embedding: 4096,
      heads: 32,
      kvHeads: 32,
      feedForward: 16384,
      vocabulary: 102400,
      context: 2048,
      tied: false,
      normEpsilon: 1e-5,
    },
    ropeScalings: ['llama3'],
    headLengths: 'stated',
    own,
  },
};

function own(config: HfConfig, settings: HfSettings): Own {
  const { where, headDim, heads, embedding, layers } = settings;
  const types = config.raw('layer_types');
  const windowed =
    config.has('sliding_window') || layers === 64 || (Array.isArray(types) && types.includes('sliding_attention'));
  if (windowed) {
    throw new UnsupportedError({
      found: 'layers with a sliding window',
      expected: 'a model of EXAONE 4.0 without, such as the one of 1.2B',
      where,
    });
  }
  if (headDim * heads !== embedding)
    config.problem(`heads of ${headDim} values, and llama.cpp computes hidden_size / heads`);
  const { tensors } = llamaOwn(config, settings);
  return { metadata: (common) => [...common, ['vocab_size', u32(settings.vocabulary)]], tensors };
}
