import { quote, UnsupportedError } from '../../base/errors.js';
import type { JsonObject } from '../../base/json.js';
import { isObject, listAt, textAt } from '../../base/jsonAccess.js';
import type { Problems } from './convertModel.js';
import { type Family, families } from './families.js';
import { Config, type HfFolder, MAX_CONTEXT, MAX_HEADS, MAX_LAYERS, MAX_VOCABULARY, MAX_WIDTH } from './hfFolder.js';

/** Rotary embeddings: the base, and how a longer context than the trained one is reached. */
export interface Rope {
  readonly base: number;
  /** Gemma 3: of the layers with a sliding window. */
  readonly slidingBase?: number;
  readonly scaling?: LinearScaling | YarnScaling | Llama3Scaling;
}

interface LinearScaling {
  readonly type: 'linear';
  readonly factor: number;
}

interface YarnScaling {
  readonly type: 'yarn';
  readonly factor: number;
  readonly originalContext: number;
  readonly extrapolationFactor?: number;
  readonly attentionFactor?: number;
  readonly betaFast?: number;
  readonly betaSlow?: number;
}

/** Frequencies slowed where their wave is longer than the trained context; written as a tensor of factors. */
interface Llama3Scaling {
  readonly type: 'llama3';
  readonly factor: number;
  readonly lowFrequencyFactor: number;
  readonly highFrequencyFactor: number;
  readonly originalContext: number;
}

/** transformers' RotaryEmbeddingConfigMixin.default_theta. */
const DEFAULT_BASE = 10_000;

function readScaling(
  options: Config | undefined,
  family: Family,
  context: number,
  problems: Problems,
  where: string,
): Rope['scaling'] {
  const type = options?.text('rope_type') ?? options?.text('type') ?? 'default';
  if (options === undefined || type === 'default') return undefined;
  const factor = () => options.positive('factor') ?? need('factor');
  const need = (key: string): number => {
    problems.add(`rope scaling of type ${quote(type)} lacks ${key}`);
    return 1;
  };
  const originalContext = () => options.whole('original_max_position_embeddings', MAX_CONTEXT, context);
  if (type === 'linear') return { type, factor: factor() };
  if (type === 'yarn') {
    return {
      type,
      factor: factor(),
      originalContext: originalContext(),
      extrapolationFactor: options.positive('extrapolation_factor'),
      attentionFactor: options.positive('attention_factor') ?? options.positive('attn_factor'),
      betaFast: options.positive('beta_fast'),
      betaSlow: options.positive('beta_slow'),
    };
  }
  if (type === 'llama3' && family.architecture === 'llama') {
    return {
      type,
      factor: options.positive('factor', 8),
      lowFrequencyFactor: options.positive('low_freq_factor', 1),
      highFrequencyFactor: options.positive('high_freq_factor', 4),
      originalContext: originalContext(),
    };
  }
  throw new UnsupportedError({
    found: `RoPE scaling of type ${quote(type)} in a ${family.title} model`,
    expected: `none, linear, yarn${family.architecture === 'llama' ? ' or llama3' : ''}`,
    where,
  });
}

/** Reads what config.json says of rotary embeddings: `rope_scaling` beside `rope_theta`, or both in `rope_parameters` (transformers 5). */
function readRope(config: Config, family: Family, context: number, problems: Problems, where: string): Rope {
  const parameters = config.object('rope_scaling') ?? config.object('rope_parameters');
  const full = parameters?.object('full_attention');
  const used = full ?? parameters;
  const scaling = readScaling(used, family, context, problems, where);
  if (family.architecture !== 'gemma3') {
    return { base: used?.positive('rope_theta') ?? config.positive('rope_theta', DEFAULT_BASE), scaling };
  }
  const sliding = parameters?.object('sliding_attention');
  return {
    base: used?.positive('rope_theta') ?? config.positive('rope_theta', 1_000_000),
    slidingBase: sliding?.positive('rope_theta') ?? config.positive('rope_local_base_freq', DEFAULT_BASE),
    scaling,
  };
}

/** A model's sizes and constants out of config.json, what it leaves unsaid filled in. */
export interface HfSettings {
  readonly family: Family;
  readonly layers: number;
  readonly hidden: number;
  readonly feedForward: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Whether `headDim` is written as key and value length. */
  readonly headDimStated: boolean;
  readonly vocabulary: number;
  readonly context: number;
  readonly normEpsilon: number;
  readonly tied: boolean;
  readonly rope: Rope;
  /** Gemma 3: how far the layers look that do not see everything. */
  readonly slidingWindow?: number;
  readonly finalSoftcap?: number;
}

function findFamily({ config, path }: HfFolder): Family {
  const named = listAt(config, 'text_config', 'architectures')[0] ?? listAt(config, 'architectures')[0];
  const family = typeof named === 'string' ? families.get(named) : undefined;
  if (family) return family;
  throw new UnsupportedError({
    found: typeof named === 'string' ? `a model of the class ${quote(named)}` : 'no class under "architectures"',
    expected: `one of ${[...families.keys()].join(', ')}`,
    where: `${path}/config.json`,
  });
}

/** What these families may have and llama.cpp's graph of them does not compute. */
function refuseUnsupported(config: Config, family: Family, where: string): void {
  const refuse = (found: string, expected?: string) => {
    throw new UnsupportedError({ found, expected, where });
  };
  if (config.has('quantization_config')) {
    refuse('weights that are quantised already', 'bf16, f16 or f32: the folder of the model it was made from');
  }
  for (const key of ['num_local_experts', 'num_experts', 'n_routed_experts']) {
    if (config.has(key)) refuse('a mixture of experts', 'a dense model');
  }
  if (config.has('draft_vocab_size')) refuse('a draft model', 'a model that stands by itself');
  if (config.has('attn_logit_softcapping')) refuse('attn_logit_softcapping', `none, as ${family.title} has`);
  if (config.has('partial_rotary_factor') && config.raw('partial_rotary_factor') !== 1) {
    refuse('rotary embeddings of a part of each head (partial_rotary_factor)', 'of whole heads');
  }
  if (config.flag('use_bidirectional_attention', false)) refuse('an embedding model', 'a model that writes text');
  const activation = config.text('hidden_activation') ?? config.text('hidden_act') ?? family.activations[0]!;
  if (!family.activations.includes(activation)) {
    refuse(`the activation ${quote(activation)}`, `${family.activations.join(' or ')}, as ${family.title} has`);
  }
}

/** Gemma 3 in llama.cpp: five layers with a window, then one without, and this scale of attention scores (src/models/gemma3.cpp). */
function checkGemma(config: Config, settings: HfSettings, problems: Problems, where: string): void {
  const pattern = config.whole(
    'sliding_window_pattern',
    MAX_LAYERS,
    config.whole('_sliding_window_pattern', MAX_LAYERS, 6),
  );
  const types = config.raw('layer_types');
  const expected = (i: number) => ((i + 1) % 6 === 0 ? 'full_attention' : 'sliding_attention');
  const listed = Array.isArray(types) ? types : undefined;
  const asExpected = listed
    ? listed.length === settings.layers && listed.every((type, i) => type === expected(i))
    : pattern === 6;
  if (!asExpected) {
    throw new UnsupportedError({
      found: 'another order of layers with and without a sliding window',
      expected: 'every sixth layer without one, as llama.cpp computes Gemma 3',
      where,
    });
  }
  const scalar = config.positive('query_pre_attn_scalar', 256);
  // 62 layers are Gemma 3 27B's.
  const computed = settings.layers === 62 ? settings.hidden / settings.heads : settings.headDim;
  if (scalar !== computed) {
    problems.add(`query_pre_attn_scalar is ${scalar}, and llama.cpp computes Gemma 3 with ${computed}`);
  }
}

/** One object out of config.json: what stands in `text_config` of a model with vision comes before what stands outside. */
function flatten(config: JsonObject): JsonObject {
  const inner = config.get('text_config');
  return isObject(inner) ? new Map([...config, ...inner]) : config;
}

/**
 * Reads config.json. Numbers that are absurd or of another kind go to `problems`.
 * @throws UnsupportedError for another family, or a variant of one that llama.cpp does not compute
 */
export function readHfSettings(folder: HfFolder, problems: Problems): HfSettings {
  const family = findFamily(folder);
  const where = `${folder.path}/config.json`;
  const flat = flatten(folder.config);
  const config = new Config(flat, problems);
  refuseUnsupported(config, family, where);
  const { defaults } = family;
  const hidden = config.whole('hidden_size', MAX_WIDTH, defaults.hidden);
  const heads = config.whole('num_attention_heads', MAX_HEADS, defaults.heads);
  const kvFallback = flat.get('num_key_value_heads') === null ? heads : (defaults.kvHeads ?? heads);
  const kvHeads = config.whole('num_key_value_heads', MAX_HEADS, kvFallback);
  if (heads % kvHeads !== 0) problems.add(`${heads} heads do not divide by ${kvHeads} key/value heads`);
  if (!config.has('head_dim') && defaults.headDim === undefined && hidden % heads !== 0) {
    problems.add(`hidden_size ${hidden} does not divide by ${heads} heads`);
  }
  const headDim = config.whole('head_dim', MAX_WIDTH, defaults.headDim ?? Math.max(1, Math.floor(hidden / heads)));
  if (headDim % 2 !== 0) problems.add(`heads of ${headDim} values, expected an even number`);
  const context = config.whole('max_position_embeddings', MAX_CONTEXT, defaults.context);
  const settings: HfSettings = {
    family,
    layers: config.whole('num_hidden_layers', MAX_LAYERS, defaults.layers),
    hidden,
    feedForward: config.whole('intermediate_size', MAX_WIDTH, defaults.feedForward),
    heads,
    kvHeads,
    headDim,
    headDimStated: family.writesHeadDim || config.has('head_dim'),
    vocabulary: config.whole('vocab_size', MAX_VOCABULARY, defaults.vocabulary),
    context,
    normEpsilon: config.positive('rms_norm_eps', 1e-6),
    tied: config.flag('tie_word_embeddings', defaults.tied),
    rope: readRope(config, family, context, problems, where),
    ...(family.architecture === 'gemma3'
      ? {
          slidingWindow: config.whole('sliding_window', MAX_CONTEXT, 4096),
          finalSoftcap: config.positive('final_logit_softcapping'),
        }
      : {}),
  };
  if (family.architecture === 'gemma3') checkGemma(config, settings, problems, where);
  if (textAt(folder.config, 'model_type') === undefined) problems.add('config.json has no model_type');
  return settings;
}

const f = Math.fround;

/** A number divided by a tensor, as torch does it. */
const over = (x: number, y: number) => f(f(1 / y) * f(x));

/**
 * By how much each frequency of Llama 3.1 and later is slowed: f32 [headDim / 2], the tensor `rope_freqs`. In single precision, step by
 * step as llama.cpp's converter computes it with torch (conversion/llama.py, generate_extra_tensors).
 */
export function ropeFactors(scaling: Llama3Scaling, base: number, headDim: number): Float32Array {
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalContext } = scaling;
  const factors = new Float32Array(headDim / 2);
  for (let i = 0; i < factors.length; i++) {
    const frequency = over(1, f(f(base) ** f((2 * i) / headDim)));
    const wavelength = over(2 * Math.PI, frequency);
    if (wavelength < f(originalContext / high)) factors[i] = 1;
    else if (wavelength > f(originalContext / low)) factors[i] = factor;
    else {
      const smooth = f(f(over(originalContext, wavelength) - low) / f(high - low));
      factors[i] = over(1, f(f(f(1 - smooth) / factor) + smooth));
    }
  }
  return factors;
}
