import { UnsupportedError } from '../util/errors.js';
import type { JsonObject } from '../util/parseJson.js';
import { quote } from '../util/quote.js';
import { Config } from './Config.js';
import { type Family, families } from './families.js';
import type { HfFolder } from './HfFolder.js';
import { isObject, listAt, textAt } from './json.js';
import { MAX_CONTEXT, MAX_HEADS, MAX_LAYERS, MAX_VOCABULARY, MAX_WIDTH } from './limits.js';
import type { Problems } from './Problems.js';
import { type Rope, readRope } from './readRope.js';

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
