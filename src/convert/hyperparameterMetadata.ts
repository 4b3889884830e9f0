import { f32, str, u32 } from '../gguf/buildValues.js';
import type { GgufValue } from '../gguf/values.js';
import type { HfSettings } from './HfSettings.js';
import type { Rope } from './readRope.js';

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
