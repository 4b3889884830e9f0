import type { RopeParameters } from '../engine/operations.js';

/** A weight of a layer as its file names it: `blk.<l>.<name>.weight` (and `.bias` where the family has one). */
export type LayerLinear = 'attn_q' | 'attn_k' | 'attn_v' | 'attn_output' | 'ffn_gate' | 'ffn_up' | 'ffn_down';
/** Norms before attention and feed-forward, which every family has. */
export type InputNorm = 'attn_norm' | 'ffn_norm';
/** Norms of each head's queries and keys, before they are rotated. */
export type HeadNorm = 'attn_q_norm' | 'attn_k_norm';
/** Norms of what attention and feed-forward write, before it is added to the residual stream. */
export type PostNorm = 'post_attention_norm' | 'post_ffw_norm';
export type LayerNorm = InputNorm | HeadNorm | PostNorm;

/** Layers that see only the last tokens, with a rotation of their own, between layers that see everything. */
export interface LocalAttention {
  /** Of so many layers the last one sees everything. */
  readonly period: number;
  /** Base of the rotation in the layers that see the last tokens only, where the file does not say. */
  readonly ropeBase: number;
}

/** What distinguishes one model family from another: a description that the one forward graph follows. */
export interface Architecture {
  /** `general.architecture` in the file. */
  readonly name: string;
  readonly title: string;
  /** How rotary embeddings pair the dimensions of a head (llama-model.cpp, llama_model_rope_type). */
  readonly rope: RopeParameters['mode'];
  /** The file may hold factors of the rotation's frequencies (Llama 3). */
  readonly ropeFactors: boolean;
  readonly activation: 'swiglu' | 'geglu';
  /** Linears that may have a bias. */
  readonly biases: readonly LayerLinear[];
  readonly headNorms: boolean;
  readonly postNorms: boolean;
  /** Embeddings enter the residual stream multiplied by the root of their width. The output head reads them as they are. */
  readonly scaledEmbedding: boolean;
  /** llama.cpp scales queries, instead of the scores: the same but for rounding. */
  readonly scaledQueries: boolean;
  readonly localAttention?: LocalAttention;
  /**
   * The largest models of the family: where there are so many layers, attention scores are divided by the root of
   * embedding / heads instead of the head's width.
   */
  readonly wideAttentionScaleAt?: number;
  /** Chat template of the family's instruct models, for files without one; `marker` is a token that they then have. */
  readonly template?: { readonly marker: string; readonly source: string };
}

const attention = ['attn_q', 'attn_k', 'attn_v'] as const;
/** The turns of Gemma (https://ai.google.dev/gemma/docs/core/prompt-structure): a system message opens the user's first turn. */
const gemmaTurns =
  "{{ bos_token }}{% set system = messages[0].content + '\\n\\n' if messages[0].role == 'system' else '' %}" +
  "{% set turns = messages[1:] if messages[0].role == 'system' else messages %}" +
  "{% for message in turns %}{{ '<start_of_turn>' + ('model' if message.role == 'assistant' else 'user') + '\\n' }}" +
  "{{ (system if loop.first else '') + message.content | trim }}{{ '<end_of_turn>\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}";

/** Every family Loam can run, by `general.architecture`. Each follows the file of that name in llama.cpp's src/models. */
export const architectures: Readonly<Record<string, Architecture>> = {
  llama: {
    name: 'llama',
    title: 'Llama (TinyLlama, SmolLM2, Llama 3)',
    rope: 'norm',
    ropeFactors: true,
    activation: 'swiglu',
    biases: [...attention, 'attn_output', 'ffn_gate', 'ffn_up', 'ffn_down'],
    headNorms: false,
    postNorms: false,
    scaledEmbedding: false,
    scaledQueries: false,
  },
  qwen2: {
    name: 'qwen2',
    title: 'Qwen2 and Qwen2.5',
    rope: 'neox',
    ropeFactors: false,
    activation: 'swiglu',
    biases: attention,
    headNorms: false,
    postNorms: false,
    scaledEmbedding: false,
    scaledQueries: false,
  },
  qwen3: {
    name: 'qwen3',
    title: 'Qwen3',
    rope: 'neox',
    ropeFactors: false,
    activation: 'swiglu',
    biases: attention,
    headNorms: true,
    postNorms: false,
    scaledEmbedding: false,
    scaledQueries: false,
  },
  gemma3: {
    name: 'gemma3',
    title: 'Gemma 3 (text)',
    rope: 'neox',
    ropeFactors: false,
    activation: 'geglu',
    biases: attention,
    headNorms: true,
    postNorms: true,
    scaledEmbedding: true,
    scaledQueries: true,
    localAttention: { period: 6, ropeBase: 10000 },
    // The 27B model.
    wideAttentionScaleAt: 62,
    template: { marker: '<start_of_turn>', source: gemmaTurns },
  },
};

/** The linears of a layer that LoRA may adapt, in the order data flows through them. */
export const layerLinears: readonly LayerLinear[] = [
  'attn_q',
  'attn_k',
  'attn_v',
  'attn_output',
  'ffn_gate',
  'ffn_up',
  'ffn_down',
];

/** Norms of a layer of a family. */
export function layerNorms({ headNorms, postNorms }: Architecture): LayerNorm[] {
  return [
    'attn_norm',
    'ffn_norm',
    ...(headNorms ? (['attn_q_norm', 'attn_k_norm'] as const) : []),
    ...(postNorms ? (['post_attention_norm', 'post_ffw_norm'] as const) : []),
  ];
}

/** The norm that stands between a linear and the residual stream, where the family has one. */
export function postNormOf(linear: 'attn_output' | 'ffn_down'): PostNorm {
  return linear === 'attn_output' ? 'post_attention_norm' : 'post_ffw_norm';
}
