import { UnsupportedError } from '../util/errors.js';
import { quote } from '../util/quote.js';
import type { Config } from './Config.js';
import type { Family } from './families.js';
import { MAX_CONTEXT } from './limits.js';
import type { Problems } from './Problems.js';

/** Rotary embeddings: the base, and how a longer context than the trained one is reached. */
export interface Rope {
  readonly base: number;
  /** Gemma 3: of the layers with a sliding window. */
  readonly slidingBase?: number;
  readonly scaling?: LinearScaling | YarnScaling | Llama3Scaling;
}

export interface LinearScaling {
  readonly type: 'linear';
  readonly factor: number;
}

export interface YarnScaling {
  readonly type: 'yarn';
  readonly factor: number;
  readonly originalContext: number;
  readonly extrapolationFactor?: number;
  readonly attentionFactor?: number;
  readonly betaFast?: number;
  readonly betaSlow?: number;
}

/** Frequencies slowed where their wave is longer than the trained context; written as a tensor of factors. */
export interface Llama3Scaling {
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
export function readRope(config: Config, family: Family, context: number, problems: Problems, where: string): Rope {
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
