import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Random } from '../base/random.js';
import { fromFloat32, type NamedArrayToWrite } from '../formats/arrays.js';
import { writeSafetensorsFolder } from '../formats/safetensorsFolder.js';
import { byteCharacters } from '../models/convert/tokenizer/vocabulary.js';

/** A tiny Hugging Face folder of each family, written without Python. */

export interface TinyFolder {
  family?: 'llama' | 'qwen2' | 'qwen3' | 'gemma3';
  dtype?: 'f32' | 'f16' | 'bf16';
  seed?: number;
  /** Added to, or with undefined taken from, config.json. */
  config?: Record<string, unknown>;
  /** Changes the tensors before they are written. */
  tensors?: (tensors: Map<string, { shape: number[]; values: Float32Array }>) => void;
  /** Other files: text by name; undefined for one that is left out. */
  files?: Record<string, string | undefined>;
  /** Bytes a shard at most. */
  shardBytes?: number;
}

const classes = {
  llama: 'LlamaForCausalLM',
  qwen2: 'Qwen2ForCausalLM',
  qwen3: 'Qwen3ForCausalLM',
  gemma3: 'Gemma3ForCausalLM',
} as const;

export const sizes = {
  hidden: 64,
  feedForward: 96,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headDim: 16,
  vocabulary: 262,
} as const;

export interface TinyTokenizer {
  pre_tokenizer: { type: string; pretokenizers: object[] };
  model: { type: string; vocab: Record<string, unknown> | unknown[]; merges?: string[] };
  [part: string]: unknown;
}

/** tokenizer.json of byte-level BPE that cuts text as SmolLM2 does: three special tokens, the bytes, three merges. */
export function tinyTokenizer(): TinyTokenizer {
  const merges = ['t h', 'th e', 'Ġ a'];
  const special = ['<|endoftext|>', '<|im_start|>', '<|im_end|>'];
  const tokens = [...special, ...byteCharacters, ...merges.map((pair) => pair.replace(' ', ''))];
  return {
    added_tokens: special.map((content, id) => ({ id, content, special: true, normalized: false })),
    normalizer: null,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Digits', individual_digits: true },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      ],
    },
    post_processor: null,
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', vocab: Object.fromEntries(tokens.map((token, id) => [token, id])), merges },
  };
}

/** Writes the folder; returns its path and the values of its tensors, by their names in it. */
export async function writeTinyFolder(
  path: string,
  options: TinyFolder = {},
): Promise<{ path: string; tensors: Map<string, { shape: number[]; values: Float32Array }> }> {
  const { family = 'llama', dtype = 'f32' } = options;
  const { hidden, feedForward, layers, heads, kvHeads, headDim, vocabulary } = sizes;
  const random = new Random(options.seed ?? 1);
  const tensors = new Map<string, { shape: number[]; values: Float32Array }>();
  const add = (name: string, shape: number[], mean = 0) => {
    const size = shape.reduce((a, b) => a * b, 1);
    tensors.set(name, { shape, values: new Float32Array(size).map(() => mean + 0.1 * random.normal()) });
  };
  const gemma = family === 'gemma3';
  const norm = gemma ? 0 : 1;
  add('model.embed_tokens.weight', [vocabulary, hidden]);
  add('model.norm.weight', [hidden], norm);
  for (let l = 0; l < layers; l++) {
    const at = (part: string) => `model.layers.${l}.${part}.weight`;
    add(at('input_layernorm'), [hidden], norm);
    add(at('post_attention_layernorm'), [hidden], norm);
    if (gemma) for (const part of ['pre', 'post']) add(at(`${part}_feedforward_layernorm`), [hidden], norm);
    if (gemma || family === 'qwen3') for (const part of ['q', 'k']) add(at(`self_attn.${part}_norm`), [headDim], norm);
    add(at('self_attn.q_proj'), [heads * headDim, hidden]);
    for (const part of ['k', 'v']) add(at(`self_attn.${part}_proj`), [kvHeads * headDim, hidden]);
    add(at('self_attn.o_proj'), [hidden, heads * headDim]);
    for (const part of ['gate', 'up']) add(at(`mlp.${part}_proj`), [feedForward, hidden]);
    add(at('mlp.down_proj'), [hidden, feedForward]);
    if (family === 'qwen2') {
      for (const part of ['q', 'k', 'v']) {
        add(`model.layers.${l}.self_attn.${part}_proj.bias`, [(part === 'q' ? heads : kvHeads) * headDim]);
      }
    }
  }
  options.tensors?.(tensors);
  const config: Record<string, unknown> = {
    architectures: [classes[family]],
    model_type: gemma ? 'gemma3_text' : family,
    hidden_size: hidden,
    intermediate_size: feedForward,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    head_dim: headDim,
    vocab_size: vocabulary,
    max_position_embeddings: 512,
    rms_norm_eps: 1e-5,
    tie_word_embeddings: true,
    ...(gemma ? { sliding_window: 32, query_pre_attn_scalar: headDim, hidden_activation: 'gelu_pytorch_tanh' } : {}),
    ...options.config,
  };
  const files: Record<string, string | undefined> = {
    'config.json': JSON.stringify(config),
    'tokenizer.json': JSON.stringify(tinyTokenizer()),
    'tokenizer_config.json': JSON.stringify({ bos_token: '<|im_start|>', eos_token: '<|im_end|>' }),
    ...options.files,
  };
  await mkdir(path, { recursive: true });
  for (const [name, text] of Object.entries(files)) if (text !== undefined) await writeFile(join(path, name), text);
  const arrays: NamedArrayToWrite[] = [...tensors].map(([name, { shape, values }]) => ({
    name,
    ...fromFloat32(values, shape, dtype),
  }));
  await writeSafetensorsFolder(path, arrays, { shardBytes: options.shardBytes });
  return { path, tensors };
}
