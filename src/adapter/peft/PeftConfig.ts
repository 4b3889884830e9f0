import { LoamError, UnsupportedError } from '../../util/errors.js';
import type { JsonObject, JsonValue } from '../../util/parseJson.js';
import { quote } from '../../util/quote.js';
import { Pattern } from './Pattern.js';

/** The settings of adapter_config.json (peft/tuners/lora/config.py) that decide what an adapter computes. */
export interface PeftConfig {
  r: number;
  alpha: number;
  rslora: boolean;
  rankPattern: readonly (readonly [Pattern, number])[];
  alphaPattern: readonly (readonly [Pattern, number])[];
  /** The file itself. */
  json: JsonObject;
}

/** Settings that make an adapter more than low-rank factors of linears: by name, what is then missing here. */
const unsupported: readonly [key: string, isSet: (value: JsonValue) => boolean, what: string][] = [
  ['use_dora', (v) => v === true, 'the magnitudes of DoRA'],
  ['fan_in_fan_out', (v) => v === true, 'factors of transposed weights (fan_in_fan_out)'],
  ['modules_to_save', filled, 'whole layers trained beside the factors (modules_to_save)'],
  ['bias', (v) => v !== 'none' && v !== null, 'trained biases'],
  ['lora_bias', (v) => v === true, 'biases of the factors (lora_bias)'],
  ['trainable_token_indices', filled, 'trained embeddings (trainable_token_indices)'],
  ['target_parameters', filled, 'factors of parameters that are no linears (target_parameters)'],
  ['layer_replication', filled, 'layers used several times (layer_replication)'],
  ['alora_invocation_tokens', filled, 'activation by tokens (aLoRA)'],
  ['use_qalora', (v) => v === true, 'the pooled inputs of QA-LoRA'],
  ['use_bdlora', filled, 'block-diagonal factors (BD-LoRA)'],
  ['arrow_config', filled, 'routing between adapters (Arrow)'],
  ['kasa_config', filled, 'the singular values of KaSA'],
  ['monteclora_config', filled, 'the sampling of MonteCLoRA'],
  [
    'init_lora_weights',
    (v) => typeof v === 'string' && /^(pissa|olora|corda|loftq|lora_ga)/i.test(v),
    'a start that also changes the weights of the base (save with path_initial_model_for_weight_conversion)',
  ],
];

function filled(value: JsonValue): boolean {
  if (value === null || value === false) return false;
  if (Array.isArray(value)) return value.length > 0;
  return value instanceof Map ? value.size > 0 : true;
}

/**
 * Reads adapter_config.json.
 * @throws UnsupportedError that names what Loam lacks for this adapter, LoamError for settings of the wrong kind
 */
export function readPeftConfig(value: JsonValue, path: string): PeftConfig {
  if (!(value instanceof Map))
    throw new LoamError({ found: 'no object', expected: 'the settings of PEFT', where: path });
  const json = value as JsonObject;
  const kind = json.get('peft_type');
  if (kind !== 'LORA') {
    throw new UnsupportedError({
      found: typeof kind === 'string' ? `an adapter of the kind ${quote(kind)}` : 'no peft_type',
      expected: 'LORA',
      where: path,
    });
  }
  const lacking = unsupported
    .filter(([key, isSet]) => json.has(key) && isSet(json.get(key)!))
    .map(([, , what]) => what);
  if (lacking.length > 0) {
    throw new UnsupportedError({
      found: `this adapter has ${lacking.join(', and ')}, which a LoRA GGUF cannot hold`,
      where: path,
      fix: 'merge it into its base with PEFT (merge_and_unload) and convert the model instead',
    });
  }
  const positive = (v: JsonValue | undefined, key: string): number => {
    if (typeof v === 'number' && v > 0) return v;
    const found = `${key} is ${v === undefined ? 'missing' : JSON.stringify(v instanceof Map ? {} : v)}`;
    throw new LoamError({ found, expected: 'a number above 0', where: path });
  };
  const patterns = (key: string): [Pattern, number][] => {
    const map = json.get(key) ?? new Map();
    if (!(map instanceof Map))
      throw new LoamError({ found: `${key} of another kind`, expected: 'an object', where: path });
    return [...(map as JsonObject)].map(([k, v]) => [new Pattern(k, path), positive(v, `${key}, ${quote(k)}`)]);
  };
  return {
    r: positive(json.get('r') ?? 8, 'r'),
    alpha: positive(json.get('lora_alpha') ?? 8, 'lora_alpha'),
    rslora: json.get('use_rslora') === true,
    rankPattern: patterns('rank_pattern'),
    alphaPattern: patterns('alpha_pattern'),
    json,
  };
}

/** The rank that the settings give a module, and the alpha that makes alpha/rank its scale: of rsLoRA, whose scale is alpha/√rank, alpha·√rank. */
export function moduleSettings(config: PeftConfig, module: string): { rank: number; alpha: number } {
  const rank = config.rankPattern.find(([pattern]) => pattern.matches(module))?.[1] ?? config.r;
  const alpha = config.alphaPattern.find(([pattern]) => pattern.matches(module))?.[1] ?? config.alpha;
  return { rank, alpha: config.rslora ? alpha * Math.sqrt(rank) : alpha };
}
