import { Random } from '../base/random.js';
import { quantizeRows } from '../engine/rows.js';
import { type TensorTypeName, tensorTypes } from '../engine/tensorTypes.js';
import {
  convolvedWidth,
  type DeltaSizes,
  type LayerKind,
  type LayerSizes,
  type LinearRow,
  rowShape,
  rowsAt,
  type Sizes,
  sizesAt,
  widthOf,
} from '../families/family.js';
import { type FamilyName, families } from '../families/index.js';
import { bool, bools, f32, type GgufValue, i32s, str, strings, u32 } from '../formats/gguf/values.js';
import { type TensorToWrite, writeGguf } from '../formats/gguf/writeGguf.js';

/** A random model small enough for unit tests, as a complete GGUF file that stock libllama loads too. */

export interface TinyModelOptions {
  family?: FamilyName;
  seed?: number;
  layers?: number;
  embedding?: number;
  heads?: number;
  kvHeads?: number;
  headDim?: number;
  feedForward?: number;
  /** Type of the matrices; norms are f32. */
  type?: TensorTypeName;
  tied?: boolean;
  /** On those linears of attention that may have some, where published models have fewer; `all`: also on those that may not. */
  biases?: boolean | 'all';
  /** Heads of a gated delta net; of `period` layers the last one has attention instead. */
  delta?: DeltaSizes;
  /** Layers behind the model's own that draft what it may write on (qwen35). */
  drafts?: number;
  /** Tokens that local layers see (gemma3); of `period` layers the last one sees all. */
  window?: number;
  period?: number;
  /** What layers differ in, in a family whose files say it layer by layer: of `period` layers the last one sees all. */
  differing?: {
    /** Width of heads in windows. */
    localHeadDim: number;
    /** Key heads where all is seen, which are the values too. */
    keysAlone?: number;
    /** Layers at the end that attend to keys and values of earlier ones, with feed-forward parts twice as wide. */
    sharedKeys?: number;
    /** Width of the embeddings that each has of its own. */
    perLayer?: number;
  };
  /** Share of a head's dimensions that is rotated. */
  rotated?: number;
  /** Layers that mix tokens by a convolution. */
  convolutions?: readonly number[];
  /** Factors of the rotation's frequencies. */
  ropeFactors?: boolean;
  /** Extra or replaced metadata. */
  metadata?: Record<string, GgufValue>;
  template?: string | null;
  /** Tokens in all; beyond the 265 that texts need they are never produced from one. */
  tokens?: number;
  /** Factor of the embeddings. */
  embeddingSize?: number;
}

export const chatml =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/** The printable stand-ins of GPT-2's byte-level BPE for the 256 bytes (Radford et al. 2019, encoder.py). */
function byteCharacters(): string[] {
  const direct = [...range(33, 126), ...range(161, 172), ...range(174, 255)];
  const out: string[] = [];
  let extra = 0;
  for (let byte = 0; byte < 256; byte++) {
    out.push(String.fromCodePoint(direct.includes(byte) ? byte : 256 + extra++));
  }
  return out;
}
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** Tokens that a convolution is over, by itself and in a delta net. */
const taps = 3;
const deltaTaps = 4;
/** Of so many layers one has attention between delta nets. */
const tinyPeriod = 2;

/** Sections of a rotation of so many pairs, which turn all of them by a text's positions. */
const sections = (pairs: number) => [0, 1, 2].map((i) => Math.ceil((pairs - i) / 3)).concat(0);

const control = 3;
const normal = 1;

/** Metadata of a tokeniser whose tokens are those of `vocabulary`, and of the template. */
export function tokenizerMetadata(
  tokens: readonly string[],
  types: readonly number[],
  merges: readonly string[],
): [string, GgufValue][] {
  return [
    ['tokenizer.ggml.model', str('gpt2')],
    ['tokenizer.ggml.pre', str('smollm')],
    ['tokenizer.ggml.tokens', strings(tokens)],
    ['tokenizer.ggml.token_type', i32s(types)],
    ['tokenizer.ggml.merges', strings(merges)],
    ['tokenizer.ggml.bos_token_id', u32(1)],
    ['tokenizer.ggml.eos_token_id', u32(2)],
    ['tokenizer.ggml.add_bos_token', bool(false)],
  ];
}

/** Tokens: "<|endoftext|>", "<|im_start|>", "<|im_end|>", the 256 bytes, and a few merged pairs. */
export function vocabulary(): { tokens: string[]; types: number[]; merges: string[] } {
  const merges = ['t h', 'th e', 'i n', 'e r', 'Ġ a', 'Ġ the'];
  const tokens = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', ...byteCharacters()];
  tokens.push(...merges.map((pair) => pair.replace(' ', '')));
  return { tokens, types: tokens.map((_, i) => (i < 3 ? control : normal)), merges };
}

/** Writes the model; returns its path. */
export async function writeTinyModel(path: string, options: TinyModelOptions = {}): Promise<string> {
  const {
    family: name = 'llama',
    seed = 1,
    layers = 2,
    heads = 4,
    kvHeads = 2,
    headDim = 16,
    embedding = 64,
    feedForward = 96,
    type = 'f32',
    tied = true,
    template = chatml,
  } = options;
  const { delta = { keyHeads: 2, valueHeads: 4, headDim: 16 }, period = tinyPeriod, drafts = 0 } = options;
  const family = families.get(name)!;
  const isListed = family.block.local?.period === 'listed';
  const { differing = isListed ? { localHeadDim: headDim } : undefined, window = isListed ? 8 : undefined } = options;
  const { ropeFactors = isListed } = options;
  const kindOf = (l: number): LayerKind => {
    if (l >= layers) return 'attention';
    if (differing) {
      if (l >= layers - (differing.sharedKeys ?? 0)) return 'sharedKeys';
      return differing.keysAlone && (l + 1) % period === 0 ? 'keysAlone' : 'attention';
    }
    if (family.block.deltaNet) return (l + 1) % period === 0 ? 'attention' : 'delta';
    return options.convolutions?.includes(l) ? 'convolution' : 'attention';
  };
  const mixed = options.convolutions || family.block.deltaNet || differing;
  const kinds = mixed && Array.from({ length: layers + drafts }, (_, l) => kindOf(l));
  const isWindow = (l: number) => (l + 1) % period !== 0;
  const each = differing && Array.from({ length: layers }, (_, l) => sizesOf(l));
  const sizes: Sizes = {
    layers,
    embedding,
    heads,
    kvHeads,
    headDim,
    feedForward,
    kinds,
    delta,
    each,
    perLayer: differing?.perLayer,
  };
  function sizesOf(l: number): LayerSizes {
    const { localHeadDim, keysAlone = kvHeads, sharedKeys = 0 } = differing!;
    return {
      kvHeads: isWindow(l) ? kvHeads : keysAlone,
      headDim: isWindow(l) ? localHeadDim : headDim,
      feedForward: l < layers - sharedKeys ? feedForward : 2 * feedForward,
    };
  }
  const rotated = (options.rotated ?? 1) * headDim;
  const random = new Random(seed);
  const { tokens, types, merges } = vocabulary();
  for (let i = tokens.length; i < (options.tokens ?? 0); i++) {
    tokens.push(`<unused${i}>`);
    types.push(normal);
  }
  const metadata = new Map<string, GgufValue>([
    ['general.architecture', str(name)],
    ['general.type', str('model')],
    ['general.name', str('tiny')],
    [`${name}.block_count`, u32(layers + drafts)],
    ...(drafts > 0 ? [[`${name}.nextn_predict_layers`, u32(drafts)] as const] : []),
    [`${name}.context_length`, u32(512)],
    [`${name}.embedding_length`, u32(embedding)],
    [`${name}.feed_forward_length`, each ? i32s(each.map((own) => own.feedForward)) : u32(feedForward)],
    [`${name}.attention.head_count`, u32(heads)],
    [
      `${name}.attention.head_count_kv`,
      each
        ? i32s(each.map((own) => own.kvHeads))
        : options.convolutions && kinds
          ? i32s(kinds.map((kind) => (kind === 'attention' ? kvHeads : 0)))
          : u32(kvHeads),
    ],
    ...(family.block.convolution ? [[`${name}.${family.block.convolution.taps}`, u32(taps)] as const] : []),
    ...(family.block.deltaNet
      ? ([
          [`${name}.full_attention_interval`, u32(period)],
          [`${name}.ssm.conv_kernel`, u32(deltaTaps)],
          [`${name}.ssm.state_size`, u32(delta.headDim)],
          [`${name}.ssm.group_count`, u32(delta.keyHeads)],
          [`${name}.ssm.time_step_rank`, u32(delta.valueHeads)],
          [`${name}.ssm.inner_size`, u32(delta.valueHeads * delta.headDim)],
          [`${name}.rope.dimension_sections`, i32s(sections(rotated / 2))],
        ] as const)
      : []),
    [`${name}.attention.key_length`, u32(headDim)],
    [`${name}.attention.value_length`, u32(headDim)],
    [`${name}.attention.layer_norm_rms_epsilon`, f32(1e-5)],
    [`${name}.rope.dimension_count`, u32(rotated)],
    [`${name}.rope.freq_base`, f32(10000)],
    [`${name}.vocab_size`, u32(tokens.length)],
    ...tokenizerMetadata(tokens, types, merges),
    ...(window ? [[`${name}.attention.sliding_window`, u32(window)] as const] : []),
    ...(differing
      ? ([
          [`${name}.attention.sliding_window_pattern`, bools(Array.from({ length: layers }, (_, l) => isWindow(l)))],
          [`${name}.attention.key_length_swa`, u32(differing.localHeadDim)],
          [`${name}.attention.value_length_swa`, u32(differing.localHeadDim)],
          [`${name}.rope.dimension_count_swa`, u32(differing.localHeadDim)],
          [`${name}.attention.shared_kv_layers`, u32(differing.sharedKeys ?? 0)],
          [`${name}.embedding_length_per_layer_input`, u32(differing.perLayer ?? 0)],
        ] as const)
      : []),
    ...(options.period && !family.block.deltaNet && !differing
      ? [[`${name}.attention.sliding_window_pattern`, u32(options.period)] as const]
      : []),
    ...(template === null ? [] : [['tokenizer.chat_template', str(template)] as const]),
    ...Object.entries(options.metadata ?? {}),
  ]);
  const tensors: TensorToWrite[] = [];
  const matrix = (name: string, inputs: number, outputs: number, scale = 1 / Math.sqrt(inputs)) => {
    const values = new Float32Array(inputs * outputs).map(() => scale * random.normal());
    tensors.push({ name, type: tensorTypes[type], shape: [inputs, outputs], data: quantizeRows(type, values, inputs) });
  };
  const vector = (name: string, length: number, mean: number, spread = 0.1) => {
    const values = new Float32Array(length).map(() => mean + spread * random.normal());
    tensors.push({ name, type: tensorTypes.f32, shape: [length], data: quantizeRows('f32', values, length) });
  };
  // Where what is looked up is multiplied, embeddings are smaller, as in published models.
  const stated = (key: string, fallback: number) => {
    const value = options.metadata?.[`${name}.${key}`];
    return value && typeof value.value === 'number' ? value.value : fallback;
  };
  const { embedding: scale, attention } = family.block.scales?.(sizes, stated) ?? {};
  // Where scores are not divided by the root of their width, the norms of heads do it, as in published models.
  const headNorm = 1.5 / Math.sqrt(Math.sqrt(headDim) * (attention ?? 1 / Math.sqrt(headDim)));
  const spread = (options.embeddingSize ?? 1) * (scale === undefined ? 1 : 4 / scale);
  matrix('token_embd.weight', embedding, tokens.length, spread);
  vector(`${family.outputNorm?.name ?? 'output_norm'}.weight`, embedding, 1);
  if (!tied) matrix('output.weight', embedding, tokens.length);
  if (ropeFactors) {
    for (const [which, tensor] of (family.block.ropeFactors ?? []).entries()) {
      const values = new Float32Array(rotated / 2).map((_, i) => 1 + i / (which === 0 ? 4 : 1));
      const data = quantizeRows('f32', values, values.length);
      tensors.push({ name: `${tensor}.weight`, type: tensorTypes.f32, shape: [values.length], data });
    }
  }
  const biased = ({ name, bias }: LinearRow) =>
    options.biases ? (bias !== undefined || options.biases === 'all') && name.startsWith('attn_') : bias === 'usual';
  if (differing?.perLayer) {
    const all = differing.perLayer * layers;
    matrix('per_layer_token_embd.weight', all, tokens.length, 1 / Math.sqrt(differing.perLayer));
    matrix('per_layer_model_proj.weight', embedding, all);
    vector('per_layer_proj_norm.weight', differing.perLayer, 1);
  }
  for (let l = 0; l < layers + drafts; l++) {
    const own = sizesAt(sizes, l);
    for (const row of rowsAt({ family, kinds, perLayer: sizes.perLayer }, l)) {
      const at = `blk.${l}.${'stored' in row && row.stored ? row.stored : row.name}`;
      if ('inputs' in row) {
        const [inputs, outputs] = rowShape(own, row);
        matrix(`${at}.weight`, inputs, outputs);
        if (biased(row)) vector(`${at}.bias`, outputs, 0, 0.3);
        continue;
      }
      // Those behind a linear are of the size of the stream.
      const [mean, deviation] = row.name.startsWith('post_') ? [3, 1] : [row.width === 'headDim' ? headNorm : 1, 0.1];
      vector(`${at}.weight`, widthOf(own, row.width), mean, deviation);
    }
    const kernel = (name: string, taps: number, width: number) => {
      const values = new Float32Array(taps * width).map(() => 0.6 * random.normal());
      const data = quantizeRows('f32', values, taps);
      tensors.push({ name: `blk.${l}.${name}.weight`, type: tensorTypes.f32, shape: [taps, width], data });
    };
    if (l >= layers) {
      matrix(`blk.${l}.nextn.eh_proj.weight`, 2 * embedding, embedding);
      for (const norm of ['enorm', 'hnorm']) vector(`blk.${l}.nextn.${norm}.weight`, embedding, 1);
    }
    if (kinds?.[l] === 'convolution') kernel('shortconv.conv', taps, embedding);
    if (kinds?.[l] === 'delta') {
      kernel('ssm_conv1d', deltaTaps, convolvedWidth(sizes));
      vector(`blk.${l}.ssm_dt.bias`, delta.valueHeads, 0, 0.5);
      vector(`blk.${l}.ssm_a`, delta.valueHeads, -0.4, 0.1);
    }
  }
  await writeGguf(path, { metadata, tensors });
  return path;
}
