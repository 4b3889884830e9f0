import { UnsupportedError } from '../base/errors.js';
import { i32s, u32 } from '../formats/gguf/values.js';
import type { Family, LayerKind } from './family.js';
import { type Entry, type HfConfig, type HfSettings, limits, type Own } from './huggingFace.js';

/**
 * LFM2 and LFM2.5, dense: most layers mix tokens by a short convolution between gates, the others by attention with norms on each head
 * (llama.cpp, src/models/lfm2.cpp, conversion/lfm2.py).
 */
export const lfm2: Family = {
  name: 'lfm2',
  title: 'LFM2',
  layer: [
    { name: 'attn_norm', module: 'operator_norm', width: 'embedding' },
    { name: 'attn_q', module: 'self_attn.q_proj', inputs: 'embedding', outputs: 'query', only: 'attention' },
    { name: 'attn_k', module: 'self_attn.k_proj', inputs: 'embedding', outputs: 'keyValue', only: 'attention' },
    { name: 'attn_v', module: 'self_attn.v_proj', inputs: 'embedding', outputs: 'keyValue', only: 'attention' },
    { name: 'attn_q_norm', module: 'self_attn.q_layernorm', width: 'headDim', only: 'attention' },
    { name: 'attn_k_norm', module: 'self_attn.k_layernorm', width: 'headDim', only: 'attention' },
    { name: 'attn_output', module: 'self_attn.out_proj', inputs: 'query', outputs: 'embedding', only: 'attention' },
    {
      name: 'shortconv.in_proj',
      module: 'conv.in_proj',
      inputs: 'embedding',
      outputs: ['embedding', 'embedding', 'embedding'],
      only: 'convolution',
    },
    {
      name: 'shortconv.out_proj',
      module: 'conv.out_proj',
      inputs: 'embedding',
      outputs: 'embedding',
      only: 'convolution',
    },
    { name: 'ffn_norm', module: 'ffn_norm', width: 'embedding' },
    { name: 'ffn_gate', module: 'feed_forward.w1', inputs: 'embedding', outputs: 'feedForward' },
    { name: 'ffn_up', module: 'feed_forward.w3', inputs: 'embedding', outputs: 'feedForward' },
    { name: 'ffn_down', module: 'feed_forward.w2', inputs: 'feedForward', outputs: 'embedding' },
  ],
  block: {
    rope: 'neox',
    activation: 'swiglu',
    windows: true,
    convolution: { taps: 'shortconv.l_cache', module: 'conv.conv' },
  },
  outputNorm: { name: 'token_embd_norm', module: 'embedding_norm' },
  huggingFace: {
    classes: ['Lfm2ForCausalLM', 'LFM2ForCausalLM'],
    modelTypes: ['lfm2'],
    defaults: {
      layers: 32,
      embedding: 2560,
      heads: 32,
      kvHeads: 8,
      feedForward: 12288,
      vocabulary: 65536,
      context: 128_000,
      tied: true,
      normEpsilon: 1e-5,
      ropeBase: 1_000_000,
    },
    headLengths: 'stated',
    kinds,
    feedForward,
    own,
  },
};

/** What its layers are, in config.json: a list of kinds, or in older files of the layers with attention. */
function kinds(config: HfConfig, layers: number): readonly LayerKind[] | undefined {
  const types = config.raw('layer_types');
  const full = config.raw('full_attn_idxs');
  if (Array.isArray(types)) {
    const known = types.length === layers && types.every((type) => type === 'conv' || type === 'full_attention');
    if (!known) config.problem(`layer_types is not a list of ${layers} times conv or full_attention`);
    return types.map((type) => (type === 'conv' ? 'convolution' : 'attention'));
  }
  if (!Array.isArray(full)) return undefined;
  return Array.from({ length: layers }, (_, l) => (full.includes(l) ? 'attention' : 'convolution'));
}

/** The width that SwiGLU leaves of what config.json says. */
function feedForward(config: HfConfig, stated: number): number {
  const width = config.whole('block_ff_dim', limits.width, stated);
  if (!config.flag('block_auto_adjust_ff_dim', true)) return width;
  const multiple = config.whole('block_multiple_of', limits.width, 256);
  const scaled = Math.floor((config.positive('block_ffn_dim_multiplier') ?? 1) * Math.floor((2 * width) / 3));
  return multiple * Math.ceil(scaled / multiple);
}

function own(config: HfConfig, settings: HfSettings): Own {
  const { layers, kvHeads, heads, headDim, embedding, vocabulary, where } = settings;
  if (config.flag('conv_bias', false) || config.has('sliding_window')) {
    throw new UnsupportedError({
      found: config.has('sliding_window') ? 'a sliding window' : 'convolutions with a bias (conv_bias)',
      expected: 'none, as llama.cpp converts LFM2',
      where,
    });
  }
  if (headDim * heads !== embedding)
    config.problem(`heads of ${headDim} values, and llama.cpp computes hidden_size / heads`);
  const listed = settings.kinds ?? new Array<LayerKind>(layers).fill('attention');
  const perLayer = i32s(listed.map((kind) => (kind === 'attention' ? kvHeads : 0)));
  return {
    metadata: (common) => [
      ...common.map((entry): Entry => (entry[0] === 'attention.head_count_kv' ? [entry[0], perLayer] : entry)),
      ['vocab_size', u32(vocabulary)],
      ['shortconv.l_cache', u32(config.whole('conv_L_cache', 64, 3))],
    ],
  };
}
