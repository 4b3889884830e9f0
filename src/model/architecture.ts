import type { RopeParameters } from '../ggml/operations.js';

/** A weight of a layer as its file names it: `blk.<l>.<name>.weight` (and `.bias` where the family has one). */
export type LayerLinear = 'attn_q' | 'attn_k' | 'attn_v' | 'attn_output' | 'ffn_gate' | 'ffn_up' | 'ffn_down';
export type LayerNorm = 'attn_norm' | 'ffn_norm';

/** What distinguishes one model family from another: a description that the one forward graph follows. */
export interface Architecture {
  /** `general.architecture` in the file. */
  readonly name: string;
  readonly title: string;
  /** How rotary embeddings pair the dimensions of a head (llama-model.cpp, llama_model_rope_type). */
  readonly rope: RopeParameters['mode'];
  readonly activation: 'swiglu' | 'geglu';
}

/** Every family Loam can run, by `general.architecture`. */
export const architectures: Readonly<Record<string, Architecture>> = {
  llama: { name: 'llama', title: 'Llama (TinyLlama, SmolLM2, Llama 3)', rope: 'norm', activation: 'swiglu' },
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
