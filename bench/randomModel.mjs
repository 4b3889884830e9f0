// Random weights in the exact shape of TinyLlama-1.1B at Q4_0 (output matrix Q6_K, as llama.cpp's quantiser leaves it): what time and
// memory depend on, without the download. Tokeniser and chat template are the first 32,000 tokens of another model's.
import { randomFillSync } from 'node:crypto';
import { tensorTypes } from '../dist/engine/tensorTypes.js';
import { readGguf } from '../dist/formats/gguf/readGguf.js';
import { f32, i32s, str, strings, u32 } from '../dist/formats/gguf/values.js';
import { writeGguf } from '../dist/formats/gguf/writeGguf.js';

export const tinyLlama = { layers: 22, embedding: 2048, feedForward: 5632, heads: 32, kvHeads: 4, vocabulary: 32000 };

/** The widths of Gemma 3 270M, as far as a layer of Llama's has them: heads of 160 values instead of 256. */
export const gemma270m = { layers: 18, embedding: 640, feedForward: 2048, heads: 4, kvHeads: 1, vocabulary: 49152 };

/** @param path file to write, @param vocabularyFrom GGUF file that lends its tokeniser */
export async function writeRandomModel(path, vocabularyFrom, shape = tinyLlama) {
  const { layers, embedding, feedForward, heads, kvHeads, vocabulary } = shape;
  const donor = await readGguf(vocabularyFrom);
  const all = (key) => /** @type {any[]} */ (donor.metadata.get(key).value);
  const list = (key) => all(key).slice(0, vocabulary);
  const tokens = list('tokenizer.ggml.tokens');
  const known = new Set(tokens);
  const merges = all('tokenizer.ggml.merges').filter((merge) => known.has(merge.replace(' ', '')));
  const metadata = new Map([...donor.metadata].filter(([key]) => key.startsWith('tokenizer.')));
  for (const [key, value] of Object.entries({
    'general.architecture': str('llama'),
    'general.name': str('random weights'),
    'llama.block_count': u32(layers),
    'llama.context_length': u32(2048),
    'llama.embedding_length': u32(embedding),
    'llama.feed_forward_length': u32(feedForward),
    'llama.attention.head_count': u32(heads),
    'llama.attention.head_count_kv': u32(kvHeads),
    'llama.attention.layer_norm_rms_epsilon': f32(1e-5),
    'llama.rope.dimension_count': u32(embedding / heads),
    'llama.vocab_size': u32(vocabulary),
    'tokenizer.ggml.tokens': strings(tokens),
    'tokenizer.ggml.token_type': i32s(list('tokenizer.ggml.token_type')),
    'tokenizer.ggml.merges': strings(merges),
  })) {
    metadata.set(key, value);
  }
  const keyWidth = (kvHeads * embedding) / heads;
  const norm = (name) => {
    const ones = new Float32Array(embedding).fill(1);
    return { name, type: tensorTypes.f32, shape: [embedding], data: new Uint8Array(ones.buffer) };
  };
  const tensors = [matrix('token_embd.weight', 'q4_0', embedding, vocabulary), norm('output_norm.weight')];
  // Blocks of Q6_K have 256 values.
  tensors.push(matrix('output.weight', embedding % 256 === 0 ? 'q6_k' : 'q4_0', embedding, vocabulary));
  for (let l = 0; l < layers; l++) {
    const linear = (part, inputs, outputs) => matrix(`blk.${l}.${part}.weight`, 'q4_0', inputs, outputs);
    tensors.push(norm(`blk.${l}.attn_norm.weight`), norm(`blk.${l}.ffn_norm.weight`));
    tensors.push(linear('attn_q', embedding, embedding), linear('attn_output', embedding, embedding));
    tensors.push(linear('attn_k', embedding, keyWidth), linear('attn_v', embedding, keyWidth));
    tensors.push(linear('ffn_gate', embedding, feedForward), linear('ffn_up', embedding, feedForward));
    tensors.push(linear('ffn_down', feedForward, embedding));
  }
  await writeGguf(path, { metadata, tensors });
}

/** Random codes under one scale a block, so that a product of unit inputs has outputs of about unit size. */
function matrix(name, type, inputs, outputs) {
  const { blockSize, typeSize } = tensorTypes[type];
  // Standard deviations of uniform codes: 4.6 of 16 levels (q4_0); 18.5 of 64 levels times 74 of int8 scales (q6_K).
  const [scaleOffset, deviation] = type === 'q4_0' ? [0, 4.6] : [typeSize - 2, 18.5 * 74];
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
