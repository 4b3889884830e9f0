import { UnsupportedError } from '../base/errors.js';
import { i32s, u32 } from '../formats/gguf/values.js';
import type { DeltaSizes, Family, LayerKind } from './family.js';
import { type Entry, type HfConfig, type HfSettings, limits, type Own } from './huggingFace.js';

/**
 * Qwen3.5, dense, as a model of texts: three of four layers mix tokens by a gated delta net, the fourth by attention with a gate
 * (llama.cpp, src/models/qwen35.cpp and delta-net-base.cpp, conversion/qwen.py).
 */
export const qwen35: Family = {
  name: 'qwen35',
  title: 'Qwen3.5',
  layer: [
    { name: 'attn_norm', module: 'input_layernorm', width: 'embedding' },
    { name: 'attn_q', module: 'self_attn.q_proj', inputs: 'embedding', outputs: ['query', 'query'], only: 'attention' },
    { name: 'attn_k', module: 'self_attn.k_proj', inputs: 'embedding', outputs: 'keyValue', only: 'attention' },
    { name: 'attn_v', module: 'self_attn.v_proj', inputs: 'embedding', outputs: 'keyValue', only: 'attention' },
    { name: 'attn_q_norm', module: 'self_attn.q_norm', width: 'headDim', only: 'attention' },
    { name: 'attn_k_norm', module: 'self_attn.k_norm', width: 'headDim', only: 'attention' },
    { name: 'attn_output', module: 'self_attn.o_proj', inputs: 'query', outputs: 'embedding', only: 'attention' },
    {
      name: 'attn_qkv',
      module: 'linear_attn.in_proj_qkv',
      inputs: 'embedding',
      outputs: ['deltaKeys', 'deltaKeys', 'deltaValues'],
      tiled: 'outputs',
      only: 'delta',
    },
    {
      name: 'attn_gate',
      module: 'linear_attn.in_proj_z',
      inputs: 'embedding',
      outputs: 'deltaValues',
      tiled: 'outputs',
      only: 'delta',
    },
    {
      name: 'ssm_beta',
      module: 'linear_attn.in_proj_b',
      inputs: 'embedding',
      outputs: 'deltaHeads',
      tiled: 'outputs',
      only: 'delta',
    },
    {
      name: 'ssm_alpha',
      module: 'linear_attn.in_proj_a',
      inputs: 'embedding',
      outputs: 'deltaHeads',
      tiled: 'outputs',
      only: 'delta',
    },
    { name: 'ssm_norm', module: 'linear_attn.norm', width: 'deltaHeadDim', unshifted: true, only: 'delta' },
    {
      name: 'ssm_out',
      module: 'linear_attn.out_proj',
      inputs: 'deltaValues',
      outputs: 'embedding',
      tiled: 'inputs',
      only: 'delta',
    },
    { name: 'ffn_norm', stored: 'post_attention_norm', module: 'post_attention_layernorm', width: 'embedding' },
    { name: 'ffn_gate', module: 'mlp.gate_proj', inputs: 'embedding', outputs: 'feedForward' },
    { name: 'ffn_up', module: 'mlp.up_proj', inputs: 'embedding', outputs: 'feedForward' },
    { name: 'ffn_down', module: 'mlp.down_proj', inputs: 'feedForward', outputs: 'embedding' },
  ],
  block: {
    rope: 'neox',
    activation: 'swiglu',
    partialRotation: true,
    gatedAttention: true,
    deltaNet: { period: 4, module: 'linear_attn' },
  },
  huggingFace: {
    classes: ['Qwen3_5ForConditionalGeneration', 'Qwen3_5ForCausalLM'],
    modelTypes: ['qwen3_5', 'qwen3_5_text'],
    sees: () => true,
    defaults: {
      layers: 32,
      embedding: 4096,
      heads: 16,
      kvHeads: 4,
      headDim: 256,
      feedForward: 12288,
      vocabulary: 248320,
      context: 32768,
      tied: false,
    },
    headLengths: 'always',
    tensors: { normShift: 1 },
    kinds,
    delta,
    own,
  },
};

const period = (config: HfConfig) => config.whole('full_attention_interval', limits.layers, 4);

/** GGUF says which layers have attention by a period alone. */
function kinds(config: HfConfig, layers: number): readonly LayerKind[] {
  const every = period(config);
  const types = Array.from({ length: layers }, (_, l) =>
    (l + 1) % every === 0 ? 'full_attention' : 'linear_attention',
  );
  const listed = config.raw('layer_types');
  if (Array.isArray(listed) && listed.join() !== types.join()) {
    config.problem(`layer_types is not full_attention in every ${every}th layer and linear_attention in all others`);
  }
  return types.map((type) => (type === 'full_attention' ? 'attention' : 'delta'));
}

function delta(config: HfConfig): DeltaSizes {
  const keyHeads = config.whole('linear_num_key_heads', limits.heads, 16);
  const valueHeads = config.whole('linear_num_value_heads', limits.heads, 32);
  const headDim = config.whole('linear_key_head_dim', limits.width, 128);
  if (valueHeads % keyHeads !== 0) config.problem(`${valueHeads} heads of values do not divide by ${keyHeads} of keys`);
  if (config.whole('linear_value_head_dim', limits.width, 128) !== headDim)
    config.problem('linear_value_head_dim is not linear_key_head_dim');
  return { keyHeads, valueHeads, headDim };
}

/** What transformers assumes of the rotation's sections (conversion/qwen.py, _QWEN35_DEFAULT_MROPE_SECTION). */
const usualSections = [11, 11, 10, 0];

function own(config: HfConfig, settings: HfSettings): Own {
  const { headDim, where } = settings;
  if (!config.flag('attn_output_gate', true) || config.flag('attention_bias', false)) {
    throw new UnsupportedError({
      found: 'attention without a gate, or with biases',
      expected: 'a gate (attn_output_gate) and no biases, as llama.cpp computes Qwen3.5',
      where,
    });
  }
  const rope = config.object('rope_parameters') ?? config.object('rope_scaling');
  const share = rope?.positive('partial_rotary_factor') ?? config.positive('partial_rotary_factor', 0.25);
  const rotated = Math.floor(headDim * share);
  const listed = rope?.raw('mrope_section');
  const stated = Array.isArray(listed) && listed.length <= 4 ? [...listed, 0, 0].slice(0, 4) : undefined;
  const sections = (stated ?? usualSections).map(Number);
  const { keyHeads, valueHeads, headDim: width } = settings.delta!;
  const more: Entry[] = [
    ['ssm.conv_kernel', u32(config.whole('linear_conv_kernel_dim', 64, 4))],
    ['ssm.state_size', u32(width)],
    ['ssm.group_count', u32(keyHeads)],
    ['ssm.time_step_rank', u32(valueHeads)],
    ['ssm.inner_size', u32(width * valueHeads)],
    ['full_attention_interval', u32(period(config))],
    ['rope.dimension_count', u32(rotated)],
  ];
  const entry: Entry = ['rope.dimension_sections', i32s(sections)];
  return {
    metadata: (common) =>
      stated
        ? [...common.flatMap((one): Entry[] => (one[0] === 'rope.freq_base' ? [entry, one] : [one])), ...more]
        : [...common, ...more, entry],
  };
}
