import { f32, u32 } from '../formats/gguf/values.js';
import type { Family } from './family.js';
import { type Entry, type HfConfig, type HfSettings, limits, type Own } from './huggingFace.js';

/**
 * Phi-3 and Phi-4, dense: one matrix for queries, keys and values, one for gate and up; a part of each head may be rotated, by factors
 * that depend on the length of the context (llama.cpp, src/models/phi3.cpp, conversion/phi.py; LongRoPE, Ding et al. 2024).
 */
export const phi3: Family = {
  name: 'phi3',
  title: 'Phi-3 and Phi-4',
  layer: [
    { name: 'attn_norm', module: 'input_layernorm', width: 'embedding' },
    {
      name: 'attn_qkv',
      module: 'self_attn.qkv_proj',
      inputs: 'embedding',
      outputs: ['query', 'keyValue', 'keyValue'],
    },
    { name: 'attn_output', module: 'self_attn.o_proj', inputs: 'query', outputs: 'embedding' },
    { name: 'ffn_norm', module: 'post_attention_layernorm', width: 'embedding' },
    { name: 'ffn_up', module: 'mlp.gate_up_proj', inputs: 'embedding', outputs: ['feedForward', 'feedForward'] },
    { name: 'ffn_down', module: 'mlp.down_proj', inputs: 'feedForward', outputs: 'embedding' },
  ],
  block: {
    rope: 'neox',
    ropeFactors: ['rope_factors_short', 'rope_factors_long'],
    partialRotation: true,
    activation: 'swiglu',
    scaledQueries: true,
  },
  // Phi-4-mini's; Phi-3 had a line break after each part.
  template: {
    marker: '<|assistant|>',
    source:
      "{% for message in messages %}{{ '<|' + message.role + '|>' + message.content + '<|end|>' }}{% endfor %}" +
      "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}",
  },
  huggingFace: {
    classes: ['Phi3ForCausalLM'],
    modelTypes: ['phi3'],
    defaults: {
      layers: 32,
      embedding: 3072,
      heads: 32,
      feedForward: 8192,
      vocabulary: 32064,
      context: 4096,
      tied: false,
      normEpsilon: 1e-5,
    },
    ropeScalings: ['longrope', 'su'],
    commonScalings: false,
    headLengths: 'never',
    tokenizer: { asMarked: true },
    own,
  },
};

/** The order of phi3's converter, which writes less than all others do. */
const order = [
  'context_length',
  'rope.scaling.original_context_length',
  'embedding_length',
  'feed_forward_length',
  'block_count',
  'attention.head_count',
  'attention.head_count_kv',
  'attention.layer_norm_rms_epsilon',
  'rope.dimension_count',
  'rope.freq_base',
  'general.file_type',
  'attention.sliding_window',
];

function own(config: HfConfig, settings: HfSettings): Own {
  const { embedding, heads, headDim, context, rope } = settings;
  if (headDim * heads !== embedding)
    config.problem(`heads of ${headDim} values, and llama.cpp computes hidden_size / heads`);
  const parameters = config.object('rope_parameters') ?? config.object('rope_scaling');
  const stated = (key: string) => parameters?.positive(key) ?? config.positive(key);
  const original = stated('original_max_position_embeddings') ?? context;
  const rotated = Math.floor(Math.floor((stated('partial_rotary_factor') ?? 1) * embedding) / heads);
  if (rotated % 2 !== 0 || rotated > headDim) config.problem(`${rotated} rotated dimensions of ${headDim} of a head`);
  // llama.cpp reads it and has every layer see everything.
  const window = config.has('sliding_window') ? config.whole('sliding_window', limits.context, 1) : 0;
  const values = new Map<string, Entry[1]>([
    ['rope.scaling.original_context_length', u32(original)],
    ['rope.dimension_count', u32(rotated)],
    ['attention.sliding_window', u32(window)],
  ]);
  const metadata = (common: readonly Entry[]): Entry[] => {
    const all = new Map([...common, ...values]);
    return order.map((key) => [key, all.get(key)!]);
  };
  if (!rope.own) return { metadata };
  const factors = (name: 'long_factor' | 'short_factor') => {
    const listed = rope.own!.options.raw(name);
    const fits =
      Array.isArray(listed) && listed.length === rotated / 2 && listed.every((x) => typeof x === 'number' && x > 0);
    if (!fits) config.problem(`${name} is not a list of ${rotated / 2} positive numbers`);
    return Float32Array.from(fits ? (listed as number[]) : []);
  };
  const scale = context / original;
  // Attention scores are raised as the context is stretched, whichever factors are in use.
  const attention = scale > 1 ? Math.sqrt(1 + Math.log(scale) / Math.log(original)) : 1;
  return {
    metadata,
    first: [['rope.scaling.attn_factor', f32(attention)]],
    tensors: [
      { name: 'rope_factors_long', values: factors('long_factor') },
      { name: 'rope_factors_short', values: factors('short_factor') },
    ],
  };
}
