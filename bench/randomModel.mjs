// Random weights in the exact shape of a model at Q4_0 (output matrix Q6_K, or Q8_0 where rows are no whole blocks of that, as llama.cpp's
// quantiser leaves it): what time and memory depend on, without the download. Tokeniser and chat template are another model's, cut to the size
// of the vocabulary, or filled up with tokens that nothing uses.
import { randomFillSync } from 'node:crypto';
import { tensorTypes } from '../dist/engine/tensorTypes.js';
import { readGguf } from '../dist/formats/gguf/readGguf.js';
import { f32, i32s, str, strings, u32 } from '../dist/formats/gguf/values.js';
import { writeGguf } from '../dist/formats/gguf/writeGguf.js';

/** TinyLlama-1.1B. */
export const tinyLlama = {
  family: 'llama',
  layers: 22,
  embedding: 2048,
  feedForward: 5632,
  heads: 32,
  headDim: 64,
  kvHeads: 4,
  vocabulary: 32000,
  tied: false,
};
/** Gemma 3 270M. */
export const gemma270m = {
  family: 'gemma3',
  layers: 18,
  embedding: 640,
  feedForward: 2048,
  heads: 4,
  headDim: 256,
  kvHeads: 1,
  vocabulary: 262144,
  tied: true,
};

/** @param path file to write, @param vocabularyFrom GGUF file that lends its tokeniser */
export async function writeRandomModel(path, vocabularyFrom, shape = tinyLlama) {
  const { family, layers, embedding, feedForward, heads, headDim, kvHeads, vocabulary, tied } = shape;
  const donor = await readGguf(vocabularyFrom);
  const all = (key) => /** @type {any[]} */ (donor.metadata.get(key).value);
  /** @param {(i: number) => unknown} unused */
  const list = (key, unused) =>
    Array.from({ length: vocabulary }, (_, i) => (i < all(key).length ? all(key)[i] : unused(i)));
  const tokens = list('tokenizer.ggml.tokens', (i) => `<unused${i}>`);
  const known = new Set(tokens);
  const merges = all('tokenizer.ggml.merges').filter((merge) => known.has(merge.replace(' ', '')));
  const metadata = new Map([...donor.metadata].filter(([key]) => key.startsWith('tokenizer.')));
  for (const [key, value] of Object.entries({
    'general.architecture': str(family),
    'general.name': str('random weights'),
    [`${family}.block_count`]: u32(layers),
    [`${family}.context_length`]: u32(2048),
    [`${family}.embedding_length`]: u32(embedding),
    [`${family}.feed_forward_length`]: u32(feedForward),
    [`${family}.attention.head_count`]: u32(heads),
    [`${family}.attention.head_count_kv`]: u32(kvHeads),
    [`${family}.attention.key_length`]: u32(headDim),
    [`${family}.attention.value_length`]: u32(headDim),
    [`${family}.attention.layer_norm_rms_epsilon`]: f32(1e-5),
    [`${family}.rope.dimension_count`]: u32(headDim),
    [`${family}.vocab_size`]: u32(vocabulary),
    ...(family === 'gemma3' && { 'gemma3.attention.sliding_window': u32(512) }),
    'tokenizer.ggml.tokens': strings(tokens),
    // 5: a token that nothing uses (llama.h).
    'tokenizer.ggml.token_type': i32s(list('tokenizer.ggml.token_type', () => 5)),
    'tokenizer.ggml.merges': strings(merges),
  })) {
    metadata.set(key, value);
  }
  const norm = (name, width = embedding) => {
    const ones = new Float32Array(width).fill(1);
    return { name, type: tensorTypes.f32, shape: [width], data: new Uint8Array(ones.buffer) };
  };
  const headType = embedding % tensorTypes.q6_k.blockSize === 0 ? 'q6_k' : 'q8_0';
  const embeddings = matrix('token_embd.weight', tied ? headType : 'q4_0', embedding, vocabulary);
  const tensors = [embeddings, norm('output_norm.weight')];
  if (!tied) tensors.push(matrix('output.weight', headType, embedding, vocabulary));
  for (let l = 0; l < layers; l++) {
    const linear = (part, inputs, outputs) => matrix(`blk.${l}.${part}.weight`, 'q4_0', inputs, outputs);
    const norms = ['attn_norm', 'ffn_norm', ...(family === 'gemma3' ? ['post_attention_norm', 'post_ffw_norm'] : [])];
    tensors.push(...norms.map((part) => norm(`blk.${l}.${part}.weight`)));
    const ofHeads = family === 'gemma3' ? ['attn_q_norm', 'attn_k_norm'] : [];
    tensors.push(...ofHeads.map((part) => norm(`blk.${l}.${part}.weight`, headDim)));
    tensors.push(linear('attn_q', embedding, heads * headDim), linear('attn_output', heads * headDim, embedding));
    tensors.push(linear('attn_k', embedding, kvHeads * headDim), linear('attn_v', embedding, kvHeads * headDim));
    tensors.push(linear('ffn_gate', embedding, feedForward), linear('ffn_up', embedding, feedForward));
    tensors.push(linear('ffn_down', feedForward, embedding));
  }
  await writeGguf(path, { metadata, tensors });
}

/** Random codes under one scale a block, so that a product of unit inputs has outputs of about unit size. */
function matrix(name, type, inputs, outputs) {
  const { blockSize, typeSize } = tensorTypes[type];
  // Standard deviations of uniform codes: 4.6 of 16 levels (q4_0); 74 of int8 (q8_0); 18.5 of 64 levels times 74 of int8 scales (q6_K).
  const deviation = { q4_0: 4.6, q8_0: 74, q6_k: 18.5 * 74 }[type];
  const scaleOffset = type === 'q6_k' ? typeSize - 2 : 0;
  const scale = half(1 / (deviation * Math.sqrt(inputs)));
  return {
    name,
    type: tensorTypes[type],
    shape: [inputs, outputs],
    data() {
      const bytes = randomFillSync(new Uint8Array(((inputs * outputs) / blockSize) * typeSize));
      for (let at = scaleOffset; at < bytes.length; at += typeSize) {
        bytes[at] = scale & 255;
        bytes[at + 1] = scale >> 8;
      }
      return bytes;
    },
  };
}

/** A positive number below 1 as f16, rounded down; subnormal below 2^-14. */
function half(value) {
  const exponent = Math.max(-14, Math.floor(Math.log2(value)));
  if (value < 2 ** -14) return Math.floor(value * 2 ** 24);
  return ((exponent + 15) << 10) | Math.floor((value / 2 ** exponent - 1) * 1024);
}
