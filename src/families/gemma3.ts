import { UnsupportedError } from '../base/errors.js';
import { f32, u32 } from '../formats/gguf/values.js';
import { type Family, type LayerRow, type Sizes, usualLayer } from './family.js';
import { type Entry, type HfConfig, type HfSettings, limits, type Own } from './huggingFace.js';

/**
 * Gemma 3, the text model (llama.cpp, src/models/gemma3.cpp, conversion/gemma.py). Five of six layers see the last tokens only; norms
 * stand behind attention and feed-forward as well as before.
 */
export const gemma3: Family = {
  name: 'gemma3',
  title: 'Gemma 3',
  layer: withPostNorms(usualLayer({ biases: 'possible', headNorms: true })),
  block: {
    rope: 'neox',
    activation: 'geglu',
    scaledQueries: true,
    logitCap: 0,
    local: { period: 6, ropeBase: 10_000 },
    scales: (sizes) => ({
      embedding: Math.fround(Math.sqrt(sizes.embedding)),
      attention: 1 / Math.sqrt(attentionWidth(sizes)),
    }),
  },
  // The turns (https://ai.google.dev/gemma/docs/core/prompt-structure): a system message opens the user's first one.
  template: {
    marker: '<start_of_turn>',
    source:
      "{{ bos_token }}{% set system = messages[0].content + '\\n\\n' if messages[0].role == 'system' else '' %}" +
      "{% set turns = messages[1:] if messages[0].role == 'system' else messages %}" +
      "{% for message in turns %}{{ '<start_of_turn>' + ('model' if message.role == 'assistant' else 'user') + '\\n' }}" +
      "{{ (system if loop.first else '') + message.content | trim }}{{ '<end_of_turn>\\n' }}{% endfor %}" +
      "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}",
  },
  huggingFace: {
    classes: ['Gemma3ForCausalLM', 'Gemma3ForConditionalGeneration'],
    modelTypes: ['gemma3', 'gemma3_text'],
    // Those of 270M and 1B, with 18 and 26 layers, read texts only.
    sees: ({ layers }) => layers > 26,
    defaults: {
      layers: 26,
      embedding: 2304,
      heads: 8,
      kvHeads: 4,
      headDim: 256,
      feedForward: 9216,
      vocabulary: 262208,
      context: 131072,
      tied: true,
      activation: 'gelu_pytorch_tanh',
      ropeBase: 1_000_000,
    },
    // Norms are stored around 0.
    tensors: { normShift: 1, cutsEmbeddings: true },
    headLengths: 'always',
    tokenizer: { spacePrefix: 'never' },
    own,
  },
};

/** What the norm before the feed-forward part is called in Llama's layer is the norm behind attention here. */
export function withPostNorms(layer: readonly LayerRow[]): LayerRow[] {
  return layer.flatMap((row): LayerRow[] => {
    if (row.name === 'ffn_norm') return [{ ...row, module: 'pre_feedforward_layernorm' }];
    if (row.name === 'attn_output') {
      return [row, { name: 'post_attention_norm', module: 'post_attention_layernorm', width: 'embedding' }];
    }
    if (row.name !== 'ffn_down') return [row];
    return [row, { name: 'post_ffw_norm', module: 'post_feedforward_layernorm', width: 'embedding' }];
  });
}

/** Attention scores are divided by the root of this: in the model with 62 layers, 27B, not of the width of a head. */
const attentionWidth = ({ layers, embedding, heads, headDim }: Sizes) => (layers === 62 ? embedding / heads : headDim);

/** llama.cpp computes one order of layers with and without a window, and one scale of attention scores. */
function own(config: HfConfig, settings: HfSettings): Own {
  const listed = config.raw('layer_types');
  const expected = (i: number) => ((i + 1) % 6 === 0 ? 'full_attention' : 'sliding_attention');
  const pattern = config.whole('_sliding_window_pattern', limits.layers, 6);
  const asExpected = Array.isArray(listed)
    ? listed.length === settings.layers && listed.every((type, i) => type === expected(i))
    : config.whole('sliding_window_pattern', limits.layers, pattern) === 6;
  if (!asExpected) {
    throw new UnsupportedError({
      found: 'another order of layers with and without a sliding window',
      expected: 'every sixth layer without one, as llama.cpp computes Gemma 3',
      where: settings.where,
    });
  }
  const [stated, computed] = [config.positive('query_pre_attn_scalar', 256), attentionWidth(settings)];
  if (stated !== computed) {
    config.problem(`query_pre_attn_scalar is ${stated}, and llama.cpp computes Gemma 3 with ${computed}`);
  }
  const cap = config.positive('final_logit_softcapping');
  const metadata: Entry[] = cap === undefined ? [] : [['final_logit_softcapping', f32(cap)]];
  metadata.push(['attention.sliding_window', u32(config.whole('sliding_window', limits.context, 4096))]);
  return { metadata: (common) => [...common, ...metadata] };
}
