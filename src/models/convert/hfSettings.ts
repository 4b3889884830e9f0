import { quote, UnsupportedError } from '../../base/errors.js';
import { listAt, textAt } from '../../base/jsonAccess.js';
import type { Family } from '../../families/family.js';
import {
  type Entry,
  HfConfig,
  type HfSettings,
  limits,
  type Own,
  type Rope,
  readSizes,
} from '../../families/huggingFace.js';
import { layouts } from '../../families/index.js';
import { f32, type GgufValue, str, u32 } from '../../formats/gguf/values.js';
import { checkAgreement } from './contradictions.js';
import type { Problems } from './convertModel.js';
import type { HfFolder } from './hfFolder.js';

/** config.json of a Hugging Face folder, and the metadata that llama.cpp's converter makes of it. */

/**
 * The family of the class that config.json names, and the model_type beside that name. Within a model that also sees another type may stand:
 * Mistral Small 3.1's text is of the type of Llama.
 */
function findFamily({ config }: HfFolder, where: string): { family: Family; type: string | undefined } {
  const inner = listAt(config, 'text_config', 'architectures')[0];
  const named = inner ?? listAt(config, 'architectures')[0];
  const family = layouts.find(({ huggingFace }) => huggingFace.classes.some((name) => name === named));
  if (family)
    return {
      family,
      type: inner === undefined ? textAt(config, 'model_type') : textAt(config, 'text_config', 'model_type'),
    };
  throw new UnsupportedError({
    found: typeof named === 'string' ? `a model of the class ${quote(named)}` : 'no class under "architectures"',
    expected: `one of ${layouts.flatMap(({ huggingFace }) => huggingFace.classes).join(', ')}`,
    where,
  });
}

/** transformers' RotaryEmbeddingConfigMixin.default_theta. */
const usualRopeBase = 10_000;

/** How a longer context than the trained one is reached, as metadata; or a way that the family's row knows of. */
function readScaling(
  options: HfConfig | undefined,
  family: Family,
  context: number,
  where: string,
): Pick<Rope, 'scaling' | 'own'> {
  const type = options?.text('rope_type') ?? options?.text('type') ?? 'default';
  const scaling: Entry[] = [];
  if (options === undefined || type === 'default') return { scaling };
  const { ropeScalings = [], commonScalings = true } = family.huggingFace;
  if (ropeScalings.includes(type)) return { scaling, own: { type, options } };
  const common = commonScalings ? ['linear', 'yarn'] : [];
  if (!common.includes(type)) {
    throw new UnsupportedError({
      found: `RoPE scaling of type ${quote(type)} in a ${family.title} model`,
      expected: `one of ${['none', ...common, ...ropeScalings].join(', ')}`,
      where,
    });
  }
  const factor = options.positive('factor');
  if (factor === undefined) options.problem(`rope scaling of type ${quote(type)} lacks factor`);
  scaling.push(['rope.scaling.type', str(type)], ['rope.scaling.factor', f32(factor ?? 1)]);
  if (type === 'linear') return { scaling };
  const original = options.whole('original_max_position_embeddings', limits.context, context);
  scaling.push(['rope.scaling.original_context_length', u32(original)]);
  const optional = [
    ['ext_factor', options.positive('extrapolation_factor')],
    ['attn_factor', options.positive('attention_factor') ?? options.positive('attn_factor')],
    ['beta_fast', options.positive('beta_fast')],
    ['beta_slow', options.positive('beta_slow')],
  ] as const;
  for (const [name, value] of optional)
    if (value !== undefined) scaling.push([`rope.scaling.yarn_${name}`, f32(value)]);
  return { scaling };
}

/** Reads what config.json says of rotary embeddings: `rope_scaling` beside `rope_theta`, or both in `rope_parameters` (transformers 5). */
function readRope(config: HfConfig, family: Family, context: number, where: string): Rope {
  const parameters = config.object('rope_scaling') ?? config.object('rope_parameters');
  const used = parameters?.object('full_attention') ?? parameters;
  const { local } = family.block;
  const localBase = () =>
    parameters?.object('sliding_attention')?.positive('rope_theta') ??
    config.positive('rope_local_base_freq', local?.ropeBase ?? usualRopeBase);
  const { ropeBase = usualRopeBase } = family.huggingFace.defaults;
  return {
    base: used?.positive('rope_theta') ?? config.positive('rope_theta', ropeBase),
    localBase: local && localBase(),
    ...readScaling(used, family, context, where),
  };
}

/** What these families may have and llama.cpp's graph of them does not compute. */
function refuseUnsupported(config: HfConfig, { title, block, huggingFace }: Family, where: string): void {
  const refuse = (found: string, expected?: string) => {
    throw new UnsupportedError({ found, expected, where });
  };
  for (const key of ['quantization_config', 'compression_config', 'quantization']) {
    if (!config.has(key)) continue;
    refuse('weights that are quantised already', 'bf16, f16 or f32: the folder of the model it was made from');
  }
  for (const key of ['num_local_experts', 'num_experts', 'n_routed_experts']) {
    if (config.has(key) && config.raw(key) !== 0) refuse('a mixture of experts', 'a dense model');
  }
  if (config.has('draft_vocab_size')) refuse('a draft model', 'a model that stands by itself');
  if (config.has('attn_logit_softcapping')) refuse('attn_logit_softcapping', `none, as ${title} has`);
  const rope = config.object('rope_scaling') ?? config.object('rope_parameters');
  const rotated = rope?.raw('partial_rotary_factor') ?? config.raw('partial_rotary_factor') ?? 1;
  if (!block.partialRotation && rotated !== 1) {
    refuse('rotary embeddings of a part of each head (partial_rotary_factor)', 'of whole heads');
  }
  if (rope?.raw('truncate') === false)
    refuse('YaRN whose bounds are not whole dimensions (truncate)', 'truncated ones');
  const scaled = Boolean(rope?.raw('mscale') && rope.raw('mscale_all_dim')) && !rope!.has('attention_factor');
  if (scaled && !block.yarnMultiplier) {
    refuse(
      'YaRN with mscale and mscale_all_dim, which llama.cpp does not read here',
      'attention_factor, or none of them',
    );
  }
  // Of images alone, which no text has.
  const seesAhead =
    config.raw('use_bidirectional_attention') !== 'vision' && config.flag('use_bidirectional_attention', false);
  if (seesAhead || !config.flag('is_causal', true)) refuse('an embedding model', 'a model that writes text');
  const { activation } = huggingFace.defaults;
  const possible = activation === undefined ? ['silu', 'swish'] : [activation];
  const stated = config.text('hidden_activation') ?? config.text('hidden_act');
  if (stated !== undefined && !possible.includes(stated)) {
    refuse(`the activation ${quote(stated)}`, `${possible.join(' or ')}, as ${title} has`);
  }
}

/**
 * Reads config.json. Numbers that are absurd or of another kind go to `problems`.
 * @throws UnsupportedError for another family, or a variant of one that llama.cpp does not compute
 */
export function readHfSettings(folder: HfFolder, problems: Problems): { settings: HfSettings; own: Own } {
  const where = `${folder.path}/config.json`;
  const { family, type } = findFamily(folder, where);
  const config = new HfConfig(folder.config, problems);
  refuseUnsupported(config, family, where);
  const { defaults, headLengths, own } = family.huggingFace;
  const context = config.whole('max_position_embeddings', limits.context, defaults.context);
  const settings: HfSettings = {
    family,
    ...readSizes(config, family),
    writesHeadDim: headLengths === 'always' || (headLengths === 'stated' && config.has('head_dim')),
    vocabulary: config.whole('vocab_size', limits.vocabulary, defaults.vocabulary),
    context,
    normEpsilon: config.positive('rms_norm_eps') ?? config.positive('norm_eps', defaults.normEpsilon ?? 1e-6),
    tied: config.flag('tie_embedding', config.flag('tie_word_embeddings', defaults.tied)),
    rope: readRope(config, family, context, where),
    biases: { attention: config.stated('attention_bias'), mlp: config.stated('mlp_bias') },
    where,
  };
  if (textAt(folder.config, 'model_type') === undefined) problems.add('config.json has no model_type');
  checkAgreement(config, settings, type);
  return { settings, own: own?.(config, settings) ?? {} };
}

/** GGML_QUANT_VERSION (ggml.h). */
const quantisationVersion = 2;

/**
 * Sizes and constants as llama.cpp's converter writes them, in its order (base.py, TextModel.set_gguf_parameters, and the families' own).
 * @param fileType `enum llama_ftype` of the file
 */
export function hyperparameterMetadata(settings: HfSettings, own: Own, fileType: number): [string, GgufValue][] {
  const { family, rope, headDim } = settings;
  const common: Entry[] = [
    ['block_count', u32(settings.layers)],
    ['context_length', u32(settings.context)],
    ['embedding_length', u32(settings.embedding)],
    ['feed_forward_length', u32(settings.feedForward)],
    ['attention.head_count', u32(settings.heads)],
    ['attention.head_count_kv', u32(settings.kvHeads)],
    ...rope.scaling,
    ['rope.freq_base', f32(rope.base)],
  ];
  if (rope.localBase !== undefined) common.push(['rope.freq_base_swa', f32(rope.localBase)]);
  common.push(['attention.layer_norm_rms_epsilon', f32(settings.normEpsilon)]);
  if (settings.writesHeadDim) {
    common.push(['attention.key_length', u32(headDim)], ['attention.value_length', u32(headDim)]);
  }
  common.push(['general.file_type', u32(fileType)]);
  return [
    ...(own.metadata?.(common) ?? common).map(
      ([key, value]): Entry => [key.startsWith('general.') ? key : `${family.name}.${key}`, value],
    ),
    ['general.quantization_version', u32(quantisationVersion)],
  ];
}
