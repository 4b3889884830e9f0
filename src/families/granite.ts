import { UnsupportedError } from '../base/errors.js';
import { bool, f32, i32s, u32 } from '../formats/gguf/values.js';
import { type Family, type LayerRow, usualLayer } from './family.js';
import { type Entry, type HfConfig, type HfSettings, limits, type Own } from './huggingFace.js';
import { llama, llamaOwn } from './llama.js';

/**
 * Granite 3 and the dense models of Granite 4: Llama's layer between constant factors (llama.cpp, src/models/granite.cpp,
 * conversion/granite.py).
 */
export const granite: Family = {
  name: 'granite',
  title: 'Granite',
  layer: usualLayer({ interleaved: true, biases: 'possible', moreBiases: 'possible' }),
  block: {
    ...llama.block,
    scales: ({ headDim }, read) => ({
      embedding: read('embedding_scale', 0) || 1,
      attention: read('attention.scale', 0) || 1 / Math.sqrt(headDim),
      residual: read('residual_scale', 0) || 1,
      logits: 1 / (read('logit_scale', 0) || 1),
    }),
    switches: [{ key: 'rope.scaling.finetuned', value: true, otherwise: 'attention that knows no positions' }],
  },
  template: {
    marker: '<|start_of_role|>',
    source:
      "{% for message in messages %}{{ '<|start_of_role|>' + message.role + '<|end_of_role|>' + message.content + '<|end_of_text|>\\n' }}" +
      "{% endfor %}{% if add_generation_prompt %}{{ '<|start_of_role|>assistant<|end_of_role|>' }}{% endif %}",
  },
  huggingFace: {
    ...llama.huggingFace,
    classes: ['GraniteForCausalLM'],
    modelTypes: ['granite'],
    headLengths: 'never',
    own: (config, settings) => {
      const { metadata, tensors } = llamaOwn(config, settings);
      const factors = multipliers(config, settings);
      return { metadata: (common) => [...metadata!(common), ...factors], tensors };
    },
  },
};

/** The factors, by the names that config.json has for them. */
function multipliers(config: HfConfig, { embedding, heads, headDim }: HfSettings): Entry[] {
  if (headDim * heads !== embedding)
    config.problem(`heads of ${headDim} values, and llama.cpp computes hidden_size / heads`);
  return [
    ['attention.scale', f32(config.positive('attention_multiplier', 1))],
    ['embedding_scale', f32(config.positive('embedding_multiplier', 1))],
    ['residual_scale', f32(config.positive('residual_multiplier', 1))],
    ['logit_scale', f32(config.positive('logits_scaling', 1))],
  ];
}

/** Granite 4's dense models come in the folders of its hybrid ones, all of their layers attention and no experts. */
export const graniteHybrid: Family = {
  ...granite,
  layer: granite.layer.map((row): LayerRow => {
    if (row.name === 'ffn_gate' || row.name === 'ffn_up') {
      return { ...row, module: 'shared_mlp.input_linear', bias: undefined };
    }
    return row.name === 'ffn_down' ? { ...row, module: 'shared_mlp.output_linear', bias: undefined } : row;
  }),
  huggingFace: {
    ...granite.huggingFace,
    classes: ['GraniteMoeHybridForCausalLM'],
    modelTypes: ['granitemoehybrid'],
    tokenizer: undefined,
    own: hybridOwn,
  },
};

function hybridOwn(config: HfConfig, settings: HfSettings): Own {
  const { where, layers, kvHeads, embedding, feedForward } = settings;
  const types = config.raw('layer_types');
  // transformers 5 calls full_attention what the published files call attention.
  const dense = (type: unknown) => type === 'attention' || type === 'full_attention';
  const plain = [
    [Array.isArray(types) && types.length === layers && types.every(dense), 'layers other than attention'],
    [config.raw('num_experts_per_tok') === 0 && config.raw('num_local_experts') === 0, 'a mixture of experts'],
    [config.text('position_embedding_type') === 'rope', 'attention that knows no positions'],
  ] as const;
  const other = plain.find(([holds]) => !holds)?.[1];
  if (other) throw new UnsupportedError({ found: other, expected: 'a dense model of Granite 4', where });
  if (config.whole('shared_intermediate_size', limits.width, 1024) !== feedForward) {
    config.problem('shared_intermediate_size is not intermediate_size, which llama.cpp takes for it');
  }
  const early: Entry[] = [
    ['expert_count', u32(0)],
    ['expert_used_count', u32(0)],
  ];
  const late: Entry[] = [
    ...multipliers(config, settings),
    ['expert_shared_feed_forward_length', u32(feedForward)],
    ['ssm.conv_kernel', u32(config.whole('mamba_d_conv', limits.width, 4))],
    ['ssm.state_size', u32(config.whole('mamba_d_state', limits.width, 256))],
    ['ssm.group_count', u32(config.whole('mamba_n_groups', limits.heads, 1))],
    ['ssm.inner_size', u32(config.whole('mamba_expand', limits.heads, 2) * embedding)],
    ['ssm.time_step_rank', u32(config.whole('mamba_n_heads', limits.heads, 128))],
    ['rope.scaling.finetuned', bool(true)],
  ];
  const { metadata } = llamaOwn(config, settings);
  return {
    metadata: (common) => {
      const sized = common.map((entry): Entry => {
        return entry[0] === 'attention.head_count_kv' ? [entry[0], i32s(Array(layers).fill(kvHeads))] : entry;
      });
      const at = sized.findIndex(([key]) => key === 'general.file_type');
      return [...metadata!([...sized.slice(0, at), ...early, ...sized.slice(at)]), ...late];
    },
  };
}
