import type { FamilyName } from '../families/index.js';
import { f32, i32s, u32 } from '../formats/gguf/values.js';
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
    name: 'gemma3, linear scaling where all is seen, untied head',
    family: 'gemma3',
    layers: 4,
    tied: false,
    window: 16,
    period: 2,
    metadata: { 'gemma3.rope.freq_base_swa': f32(5000), 'gemma3.rope.scaling.factor': f32(8) },
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
];

/** What config.json of a family's tiny folder says beside what that of all says. */
export const familyConfigs: Partial<Record<FamilyName, object>> = {
  gemma3: { sliding_window: 32, query_pre_attn_scalar: 16 },
};
