import type { GgufValue } from '../../formats/gguf/Gguf.js';
import { f32, str, u32 } from '../../formats/gguf/writeGguf.js';
import type { HfSettings, Rope } from './hfSettings.js';

/**
 * The model families that can be converted: how Hugging Face names their tensors, what their configuration leaves unsaid, and what is
 * changed on the way. After llama.cpp's conversion/{llama,qwen,gemma}.py and gguf-py/gguf/tensor_mapping.py, and the defaults of
 * transformers' configuration classes.
 */

/** Which sizes a tensor has, by name: Hugging Face's order, outputs first. */
export type Shape = 'hidden' | 'headDim' | 'query' | 'keyValue' | readonly [Size, Size];
export type Size = 'hidden' | 'query' | 'keyValue' | 'feedForward' | 'vocabulary';

export interface Part {
  /** Name in Hugging Face's layer, without `.weight`. */
  readonly hf: string;
  /** Name in GGUF, without `blk.N.` and `.weight`. */
  readonly gguf: string;
  readonly shape: Shape;
  /** Rotary embeddings pair other dimensions in GGUF: rows change places, head by head. */
  readonly permuted?: 'heads' | 'kvHeads';
}

export interface Family {
  /** `general.architecture`. */
  readonly architecture: 'llama' | 'qwen2' | 'qwen3' | 'gemma3';
  readonly title: string;
  /** The activation that llama.cpp computes for it, as config.json names it. */
  readonly activations: readonly string[];
  readonly layer: readonly Part[];
  /** Added to every norm's weight: Gemma stores them around 0. */
  readonly normShift: 0 | 1;
  /** What transformers assumes where config.json does not say. */
  readonly defaults: {
    readonly hidden: number;
    readonly feedForward: number;
    readonly layers: number;
    readonly heads: number;
    /** Absent: as many as heads. */
    readonly kvHeads?: number;
    /** Absent: hidden / heads. */
    readonly headDim?: number;
    readonly vocabulary: number;
    readonly context: number;
    readonly tied: boolean;
  };
  /** Whether key and value length are written even where config.json does not give a head's size. */
  readonly writesHeadDim: boolean;
}

function layer(options: { permuted?: boolean; headNorms?: boolean; gemmaNorms?: boolean }): Part[] {
  const norm = (hf: string, gguf: string): Part => ({ hf, gguf, shape: 'hidden' });
  const rotary = (which: 'heads' | 'kvHeads') => (options.permuted ? { permuted: which } : {});
  return [
    norm('input_layernorm', 'attn_norm'),
    { hf: 'self_attn.q_proj', gguf: 'attn_q', shape: ['query', 'hidden'], ...rotary('heads') },
    { hf: 'self_attn.k_proj', gguf: 'attn_k', shape: ['keyValue', 'hidden'], ...rotary('kvHeads') },
    { hf: 'self_attn.v_proj', gguf: 'attn_v', shape: ['keyValue', 'hidden'] },
    { hf: 'self_attn.o_proj', gguf: 'attn_output', shape: ['hidden', 'query'] },
    ...(options.headNorms
      ? ([
          { hf: 'self_attn.q_norm', gguf: 'attn_q_norm', shape: 'headDim' },
          { hf: 'self_attn.k_norm', gguf: 'attn_k_norm', shape: 'headDim' },
        ] as const)
      : []),
    ...(options.gemmaNorms
      ? [
          norm('post_attention_layernorm', 'post_attention_norm'),
          norm('pre_feedforward_layernorm', 'ffn_norm'),
          norm('post_feedforward_layernorm', 'post_ffw_norm'),
        ]
      : [norm('post_attention_layernorm', 'ffn_norm')]),
    { hf: 'mlp.gate_proj', gguf: 'ffn_gate', shape: ['feedForward', 'hidden'] },
    { hf: 'mlp.up_proj', gguf: 'ffn_up', shape: ['feedForward', 'hidden'] },
    { hf: 'mlp.down_proj', gguf: 'ffn_down', shape: ['hidden', 'feedForward'] },
  ];
}

const silu = ['silu', 'swish'];

const llama: Family = {
  architecture: 'llama',
  title: 'Llama',
  activations: silu,
  layer: layer({ permuted: true }),
  normShift: 0,
  writesHeadDim: true,
  defaults: {
    hidden: 4096,
    feedForward: 11008,
    layers: 32,
    heads: 32,
    vocabulary: 32000,
    context: 2048,
    tied: false,
  },
};

const qwen = {
  hidden: 4096,
  feedForward: 22016,
  layers: 32,
  heads: 32,
  kvHeads: 32,
  vocabulary: 151936,
  context: 32768,
  tied: false,
};

const qwen2: Family = {
  architecture: 'qwen2',
  title: 'Qwen2',
  activations: silu,
  layer: layer({}),
  normShift: 0,
  writesHeadDim: false,
  defaults: qwen,
};

const qwen3: Family = {
  architecture: 'qwen3',
  title: 'Qwen3',
  activations: silu,
  layer: layer({ headNorms: true }),
  normShift: 0,
  writesHeadDim: true,
  defaults: { ...qwen, headDim: 128 },
};

const gemma3: Family = {
  architecture: 'gemma3',
  title: 'Gemma 3',
  activations: ['gelu_pytorch_tanh'],
  layer: layer({ headNorms: true, gemmaNorms: true }),
  normShift: 1,
  writesHeadDim: true,
  defaults: {
    hidden: 2304,
    feedForward: 9216,
    layers: 26,
    heads: 8,
    kvHeads: 4,
    headDim: 256,
    vocabulary: 262208,
    context: 131072,
    tied: true,
  },
};

/** By the class that config.json names under `architectures`. */
export const families: ReadonlyMap<string, Family> = new Map([
  ['LlamaForCausalLM', llama],
  ['LLaMAForCausalLM', llama],
  ['Qwen2ForCausalLM', qwen2],
  ['Qwen3ForCausalLM', qwen3],
  ['Gemma3ForCausalLM', gemma3],
  ['Gemma3ForConditionalGeneration', gemma3],
]);

type Entry = [string, GgufValue];

/** GGML_QUANT_VERSION (ggml.h). */
const QUANTISATION_VERSION = 2;

function scalingMetadata(scaling: Rope['scaling']): Entry[] {
  // Llama 3's is a tensor instead.
  if (scaling === undefined || scaling.type === 'llama3') return [];
  const out: Entry[] = [
    ['rope.scaling.type', str(scaling.type)],
    ['rope.scaling.factor', f32(scaling.factor)],
  ];
  if (scaling.type === 'linear') return out;
  out.push(['rope.scaling.original_context_length', u32(scaling.originalContext)]);
  const optional = [
    ['yarn_ext_factor', scaling.extrapolationFactor],
    ['yarn_attn_factor', scaling.attentionFactor],
    ['yarn_beta_fast', scaling.betaFast],
    ['yarn_beta_slow', scaling.betaSlow],
  ] as const;
  for (const [name, value] of optional) if (value !== undefined) out.push([`rope.scaling.${name}`, f32(value)]);
  return out;
}

/**
 * Sizes and constants as llama.cpp's converter writes them, in its order (base.py, TextModel.set_gguf_parameters, and the families' own).
 * @param fileType `enum llama_ftype` of the file
 */
export function hyperparameterMetadata(settings: HfSettings, fileType: number): Entry[] {
  const { family, rope } = settings;
  const name = family.architecture;
  const own: Entry[] = [
    ['block_count', u32(settings.layers)],
    ['context_length', u32(settings.context)],
    ['embedding_length', u32(settings.hidden)],
    ['feed_forward_length', u32(settings.feedForward)],
    ['attention.head_count', u32(settings.heads)],
    ['attention.head_count_kv', u32(settings.kvHeads)],
    ...scalingMetadata(rope.scaling),
    ['rope.freq_base', f32(rope.base)],
  ];
  if (rope.slidingBase !== undefined) own.push(['rope.freq_base_swa', f32(rope.slidingBase)]);
  own.push(['attention.layer_norm_rms_epsilon', f32(settings.normEpsilon)]);
  if (settings.headDimStated) {
    own.push(['attention.key_length', u32(settings.headDim)], ['attention.value_length', u32(settings.headDim)]);
  }
  const after: Entry[] = [];
  if (name === 'llama') {
    after.push(['vocab_size', u32(settings.vocabulary)], ['rope.dimension_count', u32(settings.headDim)]);
  }
  if (settings.finalSoftcap !== undefined) after.push(['final_logit_softcapping', f32(settings.finalSoftcap)]);
  if (settings.slidingWindow !== undefined) after.push(['attention.sliding_window', u32(settings.slidingWindow)]);
  const withPrefix = ([key, value]: Entry): Entry => [`${name}.${key}`, value];
  return [
    ...own.map(withPrefix),
    ['general.file_type', u32(fileType)],
    ...after.map(withPrefix),
    ['general.quantization_version', u32(QUANTISATION_VERSION)],
  ];
}
