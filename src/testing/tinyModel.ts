import { Random } from '../base/random.js';
import { native } from '../engine/native.js';
import { rowBytes, type TensorTypeName, tensorTypes } from '../engine/tensorTypes.js';
import type { GgufValue } from '../formats/gguf/Gguf.js';
import { bool, f32, i32s, str, strings, type TensorToWrite, u32, writeGguf } from '../formats/gguf/writeGguf.js';

/** A random model small enough for unit tests, as a complete GGUF file that stock libllama loads too. */

export type Family = 'llama' | 'qwen2' | 'qwen3' | 'gemma3';

/** What the files of a family hold beside what all do, told independently of src/model. */
const families: Record<Family, { biases: readonly string[]; headNorms: boolean; postNorms: boolean }> = {
  llama: { biases: [], headNorms: false, postNorms: false },
  qwen2: { biases: ['attn_q', 'attn_k', 'attn_v'], headNorms: false, postNorms: false },
  qwen3: { biases: [], headNorms: true, postNorms: false },
  gemma3: { biases: [], headNorms: true, postNorms: true },
};

export interface TinyModelOptions {
  family?: Family;
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
  /** On all linears of attention, where the family has none or fewer. */
  biases?: boolean;
  /** Tokens that local layers see (gemma3); of `period` layers the last one sees all. */
  window?: number;
  period?: number;
  /** Llama 3's frequency factors. */
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

const control = 3;
const normal = 1;

/** Tokens: "<|endoftext|>", "<|im_start|>", "<|im_end|>", the 256 bytes, and a few merged pairs. */
function vocabulary(): { tokens: string[]; types: number[]; merges: string[] } {
  const merges = ['t h', 'th e', 'i n', 'e r', 'Ġ a', 'Ġ the'];
  const tokens = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', ...byteCharacters()];
  tokens.push(...merges.map((pair) => pair.replace(' ', '')));
  return { tokens, types: tokens.map((_, i) => (i < 3 ? control : normal)), merges };
}

/** Writes the model; returns its path. */
export async function writeTinyModel(path: string, options: TinyModelOptions = {}): Promise<string> {
  const {
    family = 'llama',
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
  const random = new Random(seed);
  const { tokens, types, merges } = vocabulary();
  for (let i = tokens.length; i < (options.tokens ?? 0); i++) {
    tokens.push(`<unused${i}>`);
    types.push(normal);
  }
  const metadata = new Map<string, GgufValue>([
    ['general.architecture', str(family)],
    ['general.type', str('model')],
    ['general.name', str('tiny')],
    [`${family}.block_count`, u32(layers)],
    [`${family}.context_length`, u32(512)],
    [`${family}.embedding_length`, u32(embedding)],
    [`${family}.feed_forward_length`, u32(feedForward)],
    [`${family}.attention.head_count`, u32(heads)],
    [`${family}.attention.head_count_kv`, u32(kvHeads)],
    [`${family}.attention.key_length`, u32(headDim)],
    [`${family}.attention.value_length`, u32(headDim)],
    [`${family}.attention.layer_norm_rms_epsilon`, f32(1e-5)],
    [`${family}.rope.dimension_count`, u32(headDim)],
    [`${family}.rope.freq_base`, f32(10000)],
    [`${family}.vocab_size`, u32(tokens.length)],
    ['tokenizer.ggml.model', str('gpt2')],
    ['tokenizer.ggml.pre', str('smollm')],
    ['tokenizer.ggml.tokens', strings(tokens)],
    ['tokenizer.ggml.token_type', i32s(types)],
    ['tokenizer.ggml.merges', strings(merges)],
    ['tokenizer.ggml.bos_token_id', u32(1)],
    ['tokenizer.ggml.eos_token_id', u32(2)],
    ['tokenizer.ggml.add_bos_token', bool(false)],
    ...(options.window ? [[`${family}.attention.sliding_window`, u32(options.window)] as const] : []),
    ...(options.period ? [[`${family}.attention.sliding_window_pattern`, u32(options.period)] as const] : []),
    ...(template === null ? [] : [['tokenizer.chat_template', str(template)] as const]),
    ...Object.entries(options.metadata ?? {}),
  ]);
  const tensors: TensorToWrite[] = [];
  const matrix = (name: string, inputs: number, outputs: number, scale = 1 / Math.sqrt(inputs)) => {
    const values = new Float32Array(inputs * outputs).map(() => scale * random.normal());
    tensors.push({ name, type: tensorTypes[type], shape: [inputs, outputs], data: encode(type, values, inputs) });
  };
  const vector = (name: string, length: number, mean: number, spread = 0.1) => {
    const values = new Float32Array(length).map(() => mean + spread * random.normal());
    tensors.push({ name, type: tensorTypes.f32, shape: [length], data: encode('f32', values, length) });
  };
  // Gemma multiplies what it looks up by the root of the width.
  const { embeddingSize = 1 } = options;
  const spread = embeddingSize * (family === 'gemma3' ? 4 / Math.sqrt(embedding) : 1);
  matrix('token_embd.weight', embedding, tokens.length, spread);
  vector('output_norm.weight', embedding, 1);
  if (!tied) matrix('output.weight', embedding, tokens.length);
  if (options.ropeFactors) {
    const factors = new Float32Array(headDim / 2).map((_, i) => 1 + i / 4);
    tensors.push({
      name: 'rope_freqs.weight',
      type: tensorTypes.f32,
      shape: [headDim / 2],
      data: encode('f32', factors, headDim / 2),
    });
  }
  const { headNorms, postNorms, biases: own } = families[family];
  const biases = options.biases ? ['attn_q', 'attn_k', 'attn_v', 'attn_output'] : own;
  for (let l = 0; l < layers; l++) {
    const linear = (part: string, inputs: number, outputs: number) => {
      matrix(`blk.${l}.${part}.weight`, inputs, outputs);
      if (biases.includes(part)) vector(`blk.${l}.${part}.bias`, outputs, 0, 0.3);
    };
    vector(`blk.${l}.attn_norm.weight`, embedding, 1);
    linear('attn_q', embedding, heads * headDim);
    linear('attn_k', embedding, kvHeads * headDim);
    linear('attn_v', embedding, kvHeads * headDim);
    if (headNorms) for (const part of ['attn_q_norm', 'attn_k_norm']) vector(`blk.${l}.${part}.weight`, headDim, 1.5);
    linear('attn_output', heads * headDim, embedding);
    // Of the size of the stream.
    if (postNorms) vector(`blk.${l}.post_attention_norm.weight`, embedding, 3, 1);
    vector(`blk.${l}.ffn_norm.weight`, embedding, 1);
    linear('ffn_gate', embedding, feedForward);
    linear('ffn_up', embedding, feedForward);
    linear('ffn_down', feedForward, embedding);
    if (postNorms) vector(`blk.${l}.post_ffw_norm.weight`, embedding, 3, 1);
  }
  await writeGguf(path, { metadata, tensors });
  return path;
}

/** Values as the blocks of a tensor type. */
export function encode(type: TensorTypeName, values: Float32Array, rowLength: number): Uint8Array {
  const kind = tensorTypes[type];
  if (type === 'f32') return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const rows = values.length / rowLength;
  const out = new Uint8Array(rowBytes(kind, rowLength) * rows);
  native().ggml.quantizeChunk(kind.id, values, out, 0, rows, rowLength, null);
  return out;
}
