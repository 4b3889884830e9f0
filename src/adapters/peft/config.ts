import { LoamError, quote, UnsupportedError } from '../../base/errors.js';
import { type JsonObject, type JsonValue, parseJson } from '../../base/json.js';
import { type GgufValue, i32s, str } from '../../formats/gguf/values.js';

/** Names of modules have 40 characters; patterns over all layers a few more. */
const maxLength = 200;
/** With so many repetitions, and none of them of a group, trying a name of 40 characters takes at most some 10^5 steps. */
const maxRepetitions = 3;

/**
 * A key of rank_pattern or alpha_pattern: a regular expression of Python's for the end of a module's name (peft/utils/other.py,
 * get_pattern_key). It comes from a file: only expressions that cannot run for ever are taken.
 */
class Pattern {
  private readonly expression: RegExp;

  /** @throws LoamError for one that is refused, or is none */
  constructor(key: string, where: string) {
    // `^` at the start is meant as it stands: PEFT's own prefix makes it match there only.
    const repetitions = key.match(/[*+?{]/g)?.length ?? 0;
    const refused = key.length > maxLength || repetitions > maxRepetitions || /\)[*+?{]|\(\?|\\[1-9]/.test(key);
    try {
      if (refused) throw new Error('refused');
      this.expression = new RegExp(`^(?:.*\\.)?(?:${key})$`);
    } catch (cause) {
      const expected = `at most ${maxLength} characters and ${maxRepetitions} repetitions, none of them of a group`;
      throw new LoamError({ code: 'wrong-format', found: `the pattern ${quote(key)}`, expected, where }, { cause });
    }
  }

  matches(module: string): boolean {
    return this.expression.test(module);
  }
}

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

/**
 * Settings that make an adapter more than low-rank factors of linears: by name, what is then missing here, and whether PEFT, which can
 * merge all others into their base, cannot do that either (peft/tuners/lora/variants.py, model.py `_check_merge_allowed`).
 */
const unsupported: readonly [key: string, isSet: (value: JsonValue) => boolean, what: string, isUnmergeable?: true][] =
  [
    ['use_dora', (v) => v === true, 'the magnitudes of DoRA'],
    ['fan_in_fan_out', (v) => v === true, 'factors of transposed weights (fan_in_fan_out)'],
    ['modules_to_save', filled, 'whole layers trained beside the factors (modules_to_save)'],
    ['bias', (v) => v !== 'none' && v !== null, 'trained biases'],
    ['lora_bias', (v) => v === true, 'biases of the factors (lora_bias)'],
    ['trainable_token_indices', filled, 'trained embeddings (trainable_token_indices)'],
    ['target_parameters', filled, 'factors of parameters that are no linears (target_parameters)'],
    ['layer_replication', filled, 'layers used several times (layer_replication)', true],
    ['alora_invocation_tokens', filled, 'activation by tokens (aLoRA)', true],
    ['use_qalora', (v) => v === true, 'the pooled inputs of QA-LoRA', true],
    ['use_bdlora', filled, 'block-diagonal factors (BD-LoRA)'],
    ['arrow_config', filled, 'routing between adapters (Arrow)', true],
    ['kasa_config', filled, 'the singular values of KaSA'],
    ['monteclora_config', filled, 'the sampling of MonteCLoRA'],
    [
      'init_lora_weights',
      (v) => typeof v === 'string' && /^(pissa|olora|corda|loftq|lora_ga)/i.test(v),
      'a start that also changes the weights of the base (save with path_initial_model_for_weight_conversion)',
    ],
  ];

/** Switches that change nothing of what an adapter computes, or are read here. */
const known = ['inference_mode', 'init_lora_weights', 'use_rslora', 'ensure_weight_tying', 'unsloth_fixed'];

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
    throw new LoamError({ code: 'wrong-format', found: 'no object', expected: 'the settings of PEFT', where: path });
  const json = value as JsonObject;
  const kind = json.get('peft_type');
  if (kind !== 'LORA') {
    throw new UnsupportedError({
      found: typeof kind === 'string' ? `an adapter of the kind ${quote(kind)}` : 'no peft_type',
      expected: 'LORA',
      where: path,
      fix:
        typeof kind === 'string' && !/PROMPT|PREFIX|P_TUNING|TOKEN|POLY|XLORA|CARTRIDGE/.test(kind)
          ? 'merge it into its base with PEFT (merge_and_unload) and convert the model instead'
          : undefined,
    });
  }
  const lacking = unsupported.filter(([key, isSet]) => json.has(key) && isSet(json.get(key)!));
  // Later releases of PEFT have switches that nobody knows here: one that is on may change everything.
  const unknown = [...json].flatMap(([key, value]) =>
    value !== true || known.includes(key) || unsupported.some(([name]) => name === key)
      ? []
      : [`a setting ${quote(key)} that Loam does not know`],
  );
  const extras = [...lacking.map(([, , what]) => what), ...unknown];
  if (extras.length > 0) {
    throw new UnsupportedError({
      found: `this adapter has ${extras.join(', and ')}, which a LoRA GGUF cannot hold`,
      where: path,
      fix: lacking.some(([, , , isUnmergeable]) => isUnmergeable)
        ? 'train it again as a plain LoRA: PEFT cannot merge this one into its base either'
        : 'merge it into its base with PEFT (merge_and_unload) and convert the model instead',
    });
  }
  const positive = (v: JsonValue | undefined, key: string): number => {
    if (typeof v === 'number' && v > 0) return v;
    const found = `${key} is ${v === undefined ? 'missing' : JSON.stringify(v instanceof Map ? {} : v)}`;
    throw new LoamError({ code: 'wrong-format', found, expected: 'a number above 0', where: path });
  };
  const patterns = (key: string): [Pattern, number][] => {
    const map = json.get(key) ?? new Map();
    if (!(map instanceof Map))
      throw new LoamError({
        code: 'wrong-format',
        found: `${key} of another kind`,
        expected: 'an object',
        where: path,
      });
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

/** The rank that the settings give a module of these names, and the alpha that makes alpha/rank its scale: of rsLoRA, whose scale is alpha/√rank, alpha·√rank. */
export function moduleSettings(config: PeftConfig, names: readonly string[]): { rank: number; alpha: number } {
  const of = (patterns: PeftConfig['rankPattern']) =>
    patterns.find(([pattern]) => names.some((name) => pattern.matches(name)))?.[1];
  const rank = of(config.rankPattern) ?? config.r;
  const alpha = of(config.alphaPattern) ?? config.alpha;
  return { rank, alpha: config.rslora ? alpha * Math.sqrt(rank) : alpha };
}

/** In a GGUF made from an adapter of PEFT: the settings that decide what it computes, so that the way back gives the same. */
const settingsKey = 'loam.peft.settings';

/** Without names and paths of the place it was trained at: a GGUF is passed on. */
const kept = [
  'r',
  'lora_alpha',
  'use_rslora',
  'rank_pattern',
  'alpha_pattern',
  'target_modules',
  'exclude_modules',
  'layers_to_transform',
  'layers_pattern',
  'task_type',
];

export function jsonText(value: JsonValue, indent?: number): string {
  return JSON.stringify(value, (_, v) => (v instanceof Map ? Object.fromEntries(v) : v), indent);
}

/** In the same: what held the layers there (`holderOf`). */
const holderKey = 'loam.peft.layers_in';

export function peftNotes({ json }: PeftConfig, holder: string): [string, GgufValue][] {
  const settings = new Map([['peft_type', 'LORA'], ...[...json].filter(([key]) => kept.includes(key))]);
  return [
    [settingsKey, str(jsonText(settings))],
    [holderKey, str(holder)],
  ];
}

/** What held the layers where PEFT made the adapter; undefined where the file does not say. */
export function peftHolder(notes: ReadonlyMap<string, GgufValue>): string | undefined {
  const note = notes.get(holderKey);
  return note?.type === 'string' ? note.value : undefined;
}

/** The settings that an adapter had in PEFT; undefined where it was not made from one, or where something has damaged them. */
export function peftSettingsOf(notes: ReadonlyMap<string, GgufValue>, path: string): PeftConfig | undefined {
  const note = notes.get(settingsKey);
  if (note?.type !== 'string') return undefined;
  try {
    return readPeftConfig(parseJson(note.value, path), path);
  } catch (error) {
    if (error instanceof LoamError) return undefined;
    throw error;
  }
}

const fromPeft = (key: string) => key === settingsKey || key === holderKey;

/** What an adapter knows of itself, for the metadata of a safetensors file: texts and lists of whole numbers. */
export function encodeNotes(notes: ReadonlyMap<string, GgufValue>): string {
  const pairs: [string, string | number[]][] = [];
  for (const [key, value] of notes) {
    if (fromPeft(key)) continue;
    if (value.type === 'string') pairs.push([key, value.value]);
    else if (value.type === 'array' && value.of === 'i32') pairs.push([key, [...value.value]]);
  }
  return JSON.stringify(pairs);
}

/** The way back. What is not as `encodeNotes` writes it is left out: an adapter computes the same without. */
export function decodeNotes(text: string | undefined): Map<string, GgufValue> {
  const notes = new Map<string, GgufValue>();
  let pairs: JsonValue = null;
  try {
    if (text !== undefined) pairs = parseJson(text, 'loam');
  } catch {
    return notes;
  }
  for (const pair of Array.isArray(pairs) ? (pairs as readonly JsonValue[]) : []) {
    const [key, value] = Array.isArray(pair) ? (pair as readonly JsonValue[]) : [];
    if (typeof key !== 'string' || !/^(general|loam)\.[\w.]{1,100}$/.test(key) || fromPeft(key)) continue;
    const structural = ['general.type', 'general.architecture', 'general.alignment'].includes(key);
    if (structural) continue;
    if (typeof value === 'string') notes.set(key, str(value));
    const whole =
      Array.isArray(value) &&
      value.length < 1000 &&
      value.every((x) => Number.isInteger(x) && (x as number) === ((x as number) | 0));
    if (whole) notes.set(key, i32s(value as number[]));
  }
  return notes;
}
