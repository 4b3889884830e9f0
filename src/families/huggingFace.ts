import { quote } from '../base/errors.js';
import type { JsonObject, JsonValue } from '../base/json.js';
import type { GgufValue } from '../formats/gguf/values.js';
import type { Family, Sizes } from './family.js';

/**
 * What a family says of its Hugging Face folders: names, what config.json leaves unsaid, what changes on the way to GGUF. After
 * llama.cpp's conversion/*.py, and the defaults of transformers' configuration classes.
 */
export interface HuggingFace {
  /** Classes that config.json names under `architectures`. */
  readonly classes: readonly string[];
  /** What it names as `model_type`. */
  readonly modelTypes: readonly string[];
  readonly defaults: Defaults;
  /** Whether most published models of these sizes also see (`...ForConditionalGeneration`); absent: none does. GGUF does not say. */
  readonly sees?: (sizes: Sizes) => boolean;
  readonly tensors?: TensorChanges;
  /** RoPE scalings that `own` turns into tensors of factors. */
  readonly ropeScalings?: readonly string[];
  /** Where its converter writes linear and YaRN scaling as all do. */
  readonly commonScalings?: false;
  /** How the layers mix tokens, where not all do by attention. */
  readonly kinds?: (config: HfConfig, layers: number) => Sizes['kinds'];
  /**
   * Where transformers has layers see less than everything, and llama.cpp none: `switched` by use_sliding_window in layers from
   * max_window_layers on, or all layers where sliding_window is `stated`. Absent: never, or `own` sees to it.
   */
  readonly unfollowedWindows?: 'switched' | 'stated';
  /** What layers differ in, beside the sizes that all would have. */
  readonly sizes?: (config: HfConfig, usual: Sizes) => Partial<Sizes>;
  /** Heads of its delta nets. */
  readonly delta?: (config: HfConfig) => Sizes['delta'];
  /** The width of the feed-forward part, given what config.json calls intermediate_size. */
  readonly feedForward?: (config: HfConfig, stated: number) => number;
  /** Whether key and value length are written: always, never, or where config.json gives a head's size. */
  readonly headLengths: 'always' | 'stated' | 'never';
  readonly tokenizer?: TokenizerHints;
  /**
   * What the family's converter writes beside what all do.
   * @throws UnsupportedError for a variant that llama.cpp does not compute
   */
  readonly own?: (config: HfConfig, settings: HfSettings) => Own;
}

export interface Own {
  /**
   * Sizes and constants as they are written, given what all write; the family's name is left out before keys that are not of `general`.
   * Absent: as given.
   */
  readonly metadata?: (common: readonly Entry[]) => readonly Entry[];
  /** Before all that, behind the family's name. */
  readonly first?: readonly Entry[];
  /** Vectors in f32, which come first in the file: `<name>.weight`. */
  readonly tensors?: readonly { readonly name: string; readonly values: Float32Array }[];
}

/** What transformers assumes where config.json does not say. */
export interface Defaults extends Omit<Sizes, 'kvHeads' | 'headDim'> {
  /** Absent: as many as heads. */
  readonly kvHeads?: number;
  /** Absent: embedding / heads. */
  readonly headDim?: number;
  readonly vocabulary: number;
  readonly context: number;
  readonly tied: boolean;
  /** The activation, as config.json names it; absent: silu, also called swish. */
  readonly activation?: string;
  /** Absent: 1e-6. */
  readonly normEpsilon?: number;
  /** Absent: 10,000 (RotaryEmbeddingConfigMixin.default_theta). */
  readonly ropeBase?: number;
}

interface TensorChanges {
  /** Added to every norm's weight. */
  readonly normShift?: number;
  /** Rows of the embeddings beyond the vocabulary of the tokeniser are left out. */
  readonly cutsEmbeddings?: boolean;
}

interface TokenizerHints {
  /** Whether a space is put before a text: as tokenizer_config.json says, or never. Absent: not written. */
  readonly spacePrefix?: 'stated' | 'stated last' | 'never';
  readonly pieces?: OwnPieces;
  /** Tokens added to a SentencePiece model are special where they are marked so, whatever they look like. */
  readonly asMarked?: boolean;
  /** A vocabulary of this size gets no token at the beginning. */
  readonly startlessVocabulary?: number;
}

/** Pieces with merges as a kind of tokeniser of its own, of which llama.cpp reads the merges instead of scores. */
export interface OwnPieces {
  /** What GGUF calls it. */
  readonly model: string;
  /** Special tokens, where tokenizer_config.json does not name them. */
  readonly special: readonly string[];
  /** Tokens that are shown, named there or not. */
  readonly shown: readonly string[];
}

export type Entry = [key: string, value: GgufValue];

/** Far above every published model; beyond them a file is damaged or hostile. */
export const limits = { layers: 1024, width: 1 << 17, heads: 4096, vocabulary: 1 << 21, context: 1 << 27 } as const;

/** A model's sizes and constants out of config.json, what it leaves unsaid filled in. */
export interface HfSettings extends Sizes {
  readonly family: Family;
  /** Whether `headDim` is written as key and value length. */
  readonly writesHeadDim: boolean;
  readonly vocabulary: number;
  readonly context: number;
  readonly normEpsilon: number;
  readonly tied: boolean;
  readonly rope: Rope;
  /** Whether linears of attention and of the feed-forward part have biases, where it says so. */
  readonly biases: { readonly attention?: boolean; readonly mlp?: boolean };
  /** `config.json`, for errors. */
  readonly where: string;
}

/** Rotary embeddings: the base, and how a longer context than the trained one is reached. */
export interface Rope {
  readonly base: number;
  /** Of layers that see the last tokens only. */
  readonly localBase?: number;
  /** Metadata of linear and YaRN scaling. */
  readonly scaling: readonly Entry[];
  /** One of the family's `ropeScalings`, with its options. */
  readonly own?: { readonly type: string; readonly options: HfConfig };
}

/** config.json, of a model with images that of its text model: what is of another kind than it should be is a problem, null counts as absent. */
export class HfConfig {
  private readonly values: JsonObject;

  constructor(
    values: JsonObject,
    private readonly problems: { add(problem: string): void },
  ) {
    const inner = values.get('text_config');
    this.values = inner instanceof Map ? new Map([...values, ...(inner as JsonObject)]) : values;
  }

  problem(text: string): void {
    this.problems.add(text);
  }

  has(key: string): boolean {
    return this.raw(key) !== undefined;
  }

  raw(key: string): JsonValue | undefined {
    return this.values.get(key) ?? undefined;
  }

  /** Whether it is there and says `null`. */
  isNull(key: string): boolean {
    return this.values.get(key) === null;
  }

  /** A whole number from 1 to `most`. */
  whole(key: string, most: number, fallback: number): number {
    const fits = (value: JsonValue): value is number =>
      typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= most;
    return this.read(key, fits, `a whole number from 1 to ${most}`) ?? fallback;
  }

  /** A whole number from 0 to `most`; `null` counts as 0. */
  count(key: string, most: number, fallback: number): number {
    return this.isNull(key) || this.raw(key) === 0 ? 0 : this.whole(key, most, fallback);
  }

  /** A positive number, not beyond what f32 can hold. */
  positive(key: string, fallback: number): number;
  positive(key: string): number | undefined;
  positive(key: string, fallback?: number): number | undefined {
    const fits = (value: JsonValue): value is number =>
      typeof value === 'number' && value > 0 && Math.fround(value) > 0 && Number.isFinite(Math.fround(value));
    return this.read(key, fits, 'a positive number') ?? fallback;
  }

  text(key: string): string | undefined {
    return this.read(key, (value) => typeof value === 'string', 'a text');
  }

  flag(key: string, fallback: boolean): boolean {
    return this.stated(key) ?? fallback;
  }

  /** A flag that may be left unsaid. */
  stated(key: string): boolean | undefined {
    return this.read(key, (value) => typeof value === 'boolean', 'true or false');
  }

  object(key: string): HfConfig | undefined {
    const found = this.read(key, (value): value is JsonObject => value instanceof Map, 'an object');
    return found && new HfConfig(found, this.problems);
  }

  private read<T extends JsonValue>(
    key: string,
    fits: (value: JsonValue) => value is T,
    expected: string,
  ): T | undefined {
    const value = this.raw(key);
    if (value === undefined || fits(value)) return value;
    const shown = typeof value === 'string' ? quote(value) : typeof value === 'object' ? 'another kind' : String(value);
    this.problem(`${key} is ${shown}, expected ${expected}`);
    return undefined;
  }
}

/** A model's sizes as config.json has them. */
export function readSizes(config: HfConfig, { huggingFace }: Family): Sizes {
  const { defaults } = huggingFace;
  const embedding = config.whole('hidden_size', limits.width, defaults.embedding);
  const heads = config.whole('num_attention_heads', limits.heads, defaults.heads);
  const usualKvHeads = config.isNull('num_key_value_heads') ? heads : (defaults.kvHeads ?? heads);
  const kvHeads = config.whole('num_key_value_heads', limits.heads, usualKvHeads);
  if (heads % kvHeads !== 0) config.problem(`${heads} heads do not divide by ${kvHeads} key/value heads`);
  if (!config.has('head_dim') && defaults.headDim === undefined && embedding % heads !== 0) {
    config.problem(`hidden_size ${embedding} does not divide by ${heads} heads`);
  }
  const usual = defaults.headDim ?? Math.max(1, Math.floor(embedding / heads));
  const headDim = config.whole('head_dim', limits.width, usual);
  if (headDim % 2 !== 0) config.problem(`heads of ${headDim} values, expected an even number`);
  const layers = config.whole('num_hidden_layers', limits.layers, defaults.layers);
  const stated = config.whole('intermediate_size', limits.width, defaults.feedForward);
  const kinds = huggingFace.kinds?.(config, layers);
  const usualSizes: Sizes = {
    layers,
    ...(kinds?.some((kind) => kind !== 'attention') && { kinds }),
    ...(huggingFace.delta && { delta: huggingFace.delta(config) }),
    embedding,
    heads,
    kvHeads,
    headDim,
    feedForward: huggingFace.feedForward?.(config, stated) ?? stated,
  };
  return { ...usualSizes, ...huggingFace.sizes?.(config, usualSizes) };
}
