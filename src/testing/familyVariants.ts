import { f32, i32s, str, u32 } from '../formats/gguf/values.js';
import type { TinyModelOptions } from './tinyModel.js';

/**
 * Tiny models of every family, with what distinguishes their members: grouped heads, heads of another width than embedding / heads,
 * windows shorter than the sequences, factors of the rotation, tied and untied heads. Sequences of 40 tokens and more leave every
 * window.
 */
export const familyVariants: readonly (TinyModelOptions & { name: string })[] = [
  { name: 'llama', family: 'llama', layers: 3 },
  { name: 'llama, frequency factors, untied head', family: 'llama', layers: 3, ropeFactors: true, tied: false },
  { name: 'qwen2', family: 'qwen2', layers: 3 },
  { name: 'qwen2, untied head, one key head', family: 'qwen2', layers: 3, tied: false, kvHeads: 1 },
  { name: 'qwen3, wide heads', family: 'qwen3', layers: 3, headDim: 32 },
  { name: 'qwen3, untied head, as many key heads', family: 'qwen3', layers: 3, tied: false, kvHeads: 4 },
  { name: 'gemma3, window of 9', family: 'gemma3', layers: 3, headDim: 32, kvHeads: 1, window: 9, period: 3 },
  { name: 'gemma3, window of 2, the usual pattern', family: 'gemma3', layers: 7, embedding: 32, window: 2 },
  {
    name: 'gemma3, linear scaling where all is seen, untied head, capped logits',
    family: 'gemma3',
    layers: 4,
    tied: false,
    window: 16,
    period: 2,
    metadata: {
      'gemma3.rope.freq_base_swa': f32(5000),
      'gemma3.rope.scaling.factor': f32(8),
      'gemma3.final_logit_softcapping': f32(4),
    },
  },
  { name: 'gemma3, no window', family: 'gemma3', layers: 2 },
  { name: 'phi3', family: 'phi3', layers: 3 },
  {
    name: 'phi3, a part of each head rotated by factors for its context, untied head, as many key heads',
    family: 'phi3',
    layers: 3,
    tied: false,
    kvHeads: 4,
    rotated: 0.75,
    ropeFactors: true,
    metadata: {
      'phi3.rope.scaling.original_context_length': u32(256),
      'phi3.rope.scaling.attn_factor': f32(1.19),
    },
  },
  {
    name: 'granite',
    family: 'granite',
    layers: 3,
    // The published factors make what three random layers do too small to see.
    embeddingSize: 0.1,
    seed: 2,
    metadata: {
      'granite.embedding_scale': f32(12),
      'granite.residual_scale': f32(0.6),
      'granite.attention.scale': f32(0.4),
      'granite.logit_scale': f32(0.5),
    },
  },
  {
    name: 'granite, untied head, one key head, biases',
    family: 'granite',
    layers: 3,
    tied: false,
    kvHeads: 1,
    biases: true,
    metadata: { 'granite.attention.head_count_kv': i32s([1, 1, 1]), 'granite.logit_scale': f32(0.5) },
  },
  { name: 'smollm3, one layer of four without positions', family: 'smollm3', layers: 5 },
  {
    name: 'smollm3, untied head, wide heads, biases',
    family: 'smollm3',
    layers: 4,
    headDim: 32,
    tied: false,
    biases: true,
  },
  { name: 'mistral3, as Mistral Small', family: 'mistral3', layers: 3, headDim: 32, tied: false },
  {
    name: 'mistral3, stretched, scores raised beyond the context',
    family: 'mistral3',
    layers: 3,
    metadata: {
      'mistral3.rope.scaling.type': str('yarn'),
      'mistral3.rope.scaling.factor': f32(16),
      'mistral3.rope.scaling.original_context_length': u32(256),
      'mistral3.rope.scaling.yarn_beta_fast': f32(8),
      'mistral3.rope.scaling.yarn_log_multiplier': f32(0.7),
      'mistral3.attention.temperature_scale': f32(0.1),
    },
  },
  { name: 'ernie4_5, wide heads', family: 'ernie4_5', layers: 3, headDim: 32 },
  { name: 'ernie4_5, untied head, one key head', family: 'ernie4_5', layers: 3, kvHeads: 1, tied: false },
  { name: 'exaone4', family: 'exaone4', layers: 3, seed: 2 },
  { name: 'exaone4, frequency factors, untied head', family: 'exaone4', layers: 3, ropeFactors: true, tied: false },
  { name: 'lfm2', family: 'lfm2', layers: 4, convolutions: [0, 2, 3] },
  {
    name: 'lfm2, untied head, one key head, attention last',
    family: 'lfm2',
    layers: 3,
    kvHeads: 1,
    tied: false,
    convolutions: [0],
  },
  { name: 'qwen35', family: 'qwen35', layers: 4, period: 4, rotated: 0.5, headDim: 32 },
  {
    name: 'qwen35, untied head, one key head, as many heads of keys as of values, a layer that drafts',
    family: 'qwen35',
    layers: 3,
    drafts: 1,
    metadata: { 'qwen35.attention.recurrent_layers': { type: 'array', of: 'bool', value: [true, false, true, false] } },
    kvHeads: 1,
    tied: false,
    delta: { keyHeads: 3, valueHeads: 3, headDim: 16 },
  },
  {
    name: 'gemma4, heads of two widths, keys that are values, capped logits',
    family: 'gemma4',
    layers: 4,
    period: 2,
    headDim: 32,
    window: 9,
    ropeFactors: true,
    tied: false,
    differing: { localHeadDim: 16, keysAlone: 1 },
    metadata: { 'gemma4.final_logit_softcapping': f32(4), 'gemma4.rope.freq_base_swa': f32(5000) },
  },
  {
    name: 'gemma4, embeddings of its own for each layer, the last ones sharing keys',
    family: 'gemma4',
    layers: 6,
    period: 2,
    headDim: 32,
    kvHeads: 1,
    window: 9,
    ropeFactors: true,
    differing: { localHeadDim: 16, sharedKeys: 2, perLayer: 24 },
  },
  { name: 'lfm2, window of 9', family: 'lfm2', layers: 3, window: 9, convolutions: [1] },
];

const graniteFactors = {
  attention_multiplier: 0.4,
  embedding_multiplier: 3,
  residual_multiplier: 0.6,
  logits_scaling: 0.5,
};

/** Ministral 3's, for a shorter context. */
export const stretched = {
  rope_type: 'yarn',
  factor: 16,
  original_max_position_embeddings: 256,
  rope_theta: 1e6,
  beta_fast: 32,
  beta_slow: 1,
  mscale: 1,
  mscale_all_dim: 1,
  llama_4_scaling_beta: 0.1,
};

/** Twice as many heads of values as of keys, which GGUF has in another order. */
export const deltaNet = {
  layer_types: ['linear_attention', 'full_attention'],
  full_attention_interval: 2,
  linear_conv_kernel_dim: 4,
  linear_num_key_heads: 2,
  linear_num_value_heads: 4,
  linear_key_head_dim: 16,
  linear_value_head_dim: 16,
  rope_parameters: { rope_type: 'default', rope_theta: 1e6, partial_rotary_factor: 0.5, mrope_section: [2, 1, 1] },
};

/** What config.json of a tiny folder says beside what that of all says, by the class that it names. */
export const folderConfigs: Readonly<Record<string, object>> = {
  Gemma3ForCausalLM: { sliding_window: 32, query_pre_attn_scalar: 16 },
  Gemma4ForConditionalGeneration: {
    num_hidden_layers: 4,
    layer_types: ['sliding_attention', 'full_attention', 'sliding_attention', 'full_attention'],
    global_head_dim: 32,
    num_kv_shared_layers: 2,
    use_double_wide_mlp: true,
    hidden_size_per_layer_input: 24,
    sliding_window: 9,
    final_logit_softcapping: 30,
  },
  Phi3ForCausalLM: {
    partial_rotary_factor: 0.75,
    original_max_position_embeddings: 256,
    rope_scaling: { type: 'longrope', long_factor: [1, 2, 3, 4, 5, 6], short_factor: [1, 1.1, 1.2, 1.3, 1.4, 1.5] },
  },
  Ministral3ForCausalLM: { rope_parameters: stretched },
  Lfm2ForCausalLM: { layer_types: ['conv', 'full_attention'], conv_L_cache: 3, block_auto_adjust_ff_dim: false },
  Qwen3_5ForConditionalGeneration: deltaNet,
  GraniteForCausalLM: graniteFactors,
  GraniteMoeHybridForCausalLM: {
    ...graniteFactors,
    num_local_experts: 0,
    num_experts_per_tok: 0,
    shared_intermediate_size: 96,
    position_embedding_type: 'rope',
    layer_types: ['attention', 'attention'],
  },
};

const gemma3 = 'T.Gemma3TextConfig(**common, query_pre_attn_scalar=16, sliding_window=512)';
const gemma4 =
  `T.Gemma4TextConfig(**{**common, 'num_hidden_layers': 4}, vocab_size_per_layer_input=VOCABULARY, global_head_dim=32, ` +
  `layer_types=['sliding_attention', 'full_attention'] * 2, num_kv_shared_layers=2, hidden_size_per_layer_input=24, ` +
  `use_double_wide_mlp=True, sliding_window=512, final_logit_softcapping=30.0)`;
const mistral3 = `T.Ministral3Config(**common, rope_parameters=json.loads('${JSON.stringify(stretched)}'))`;
const qwen35 = `T.Qwen3_5TextConfig(**common, **json.loads('${JSON.stringify(deltaNet)}'))`;
/** Why llama.cpp's converter does not take adapters of them. */
const [ofTwoKinds, ofMovedInputs] = [
  'its converter for models of two kinds takes no adapters',
  'its converter of adapters cannot put the inputs of a linear into another order',
];

/**
 * Models of transformers that PEFT adapts, by what configures them in the Python of `reference.ts`. `published`: what config.json says in
 * published folders where transformers writes something else; `unconverted`: why llama.cpp's
 * converter of adapters does not take theirs.
 */
export const peftMembers: readonly { name: string; config: string; published?: object; unconverted?: string }[] = [
  { name: 'llama', config: 'T.LlamaConfig(**common)' },
  { name: 'qwen2', config: 'T.Qwen2Config(**headless)' },
  { name: 'qwen3', config: 'T.Qwen3Config(**common)' },
  { name: 'gemma3', config: gemma3 },
  { name: 'gemma3 that sees', config: `T.Gemma3Config(text_config=${gemma3}.to_dict(), vision_config=sight)` },
  { name: 'gemma4', config: gemma4 },
  {
    name: 'gemma4 that sees',
    config: `T.Gemma4Config(text_config=${gemma4}.to_dict(), vision_config=dict(**sight, head_dim=16), audio_config=None)`,
  },
  { name: 'phi3', config: 'T.Phi3Config(**headless, original_max_position_embeddings=512)' },
  { name: 'granite', config: `T.GraniteConfig(**headless, **${JSON.stringify(graniteFactors)})` },
  {
    name: 'granite 4',
    config:
      `T.GraniteMoeHybridConfig(**headless, **${JSON.stringify(graniteFactors)}, num_local_experts=0, num_experts_per_tok=0, ` +
      `shared_intermediate_size=96, position_embedding_type='rope', layer_types=['attention'] * 2)`,
    published: { layer_types: ['attention', 'attention'] },
    unconverted: 'llama.cpp has no converter for adapters of modules that hold two linears',
  },
  { name: 'smollm3', config: 'T.SmolLM3Config(**headless)' },
  { name: 'mistral3', config: mistral3, unconverted: ofTwoKinds },
  {
    name: 'mistral3 that sees',
    config: `T.Mistral3Config(text_config=${mistral3}.to_dict(), vision_config=dict(**sight, model_type='pixtral', head_dim=16))`,
    unconverted: ofTwoKinds,
  },
  { name: 'ernie4_5', config: 'T.Ernie4_5Config(**common)' },
  {
    name: 'lfm2',
    config: `T.Lfm2Config(**headless, layer_types=['conv', 'full_attention'], block_auto_adjust_ff_dim=False, use_cache=False)`,
  },
  { name: 'qwen35', config: qwen35, published: { full_attention_interval: 2 }, unconverted: ofMovedInputs },
  {
    name: 'qwen35 that sees',
    config:
      `T.Qwen3_5Config(text_config=${qwen35}.to_dict(), tie_word_embeddings=True, ` +
      `vision_config=dict(depth=1, hidden_size=32, intermediate_size=32, num_heads=2, out_hidden_size=64))`,
    unconverted: ofMovedInputs,
  },
  { name: 'exaone4', config: 'T.Exaone4Config(**headless, sliding_window=None, layer_types=["full_attention"] * 2)' },
];
