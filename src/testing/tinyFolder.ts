import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type JsonObject, parseJson } from '../base/json.js';
import { Random } from '../base/random.js';
import {
  convolvedWidth,
  type Family,
  linearRowsAt,
  normRowsAt,
  rowShape,
  sizesAt,
  widthOf,
} from '../families/family.js';
import { HfConfig, readSizes } from '../families/huggingFace.js';
import { type FamilyName, families } from '../families/index.js';
import { fromFloat32, type NamedArrayToWrite } from '../formats/arrays.js';
import { writeSafetensorsFolder } from '../formats/safetensorsFolder.js';
import { byteCharacters } from '../models/convert/tokenizer/vocabulary.js';
import { folderConfigs } from './familyVariants.js';

/** A tiny Hugging Face folder of each family, written without Python. */

export interface TinyFolder {
  family?: FamilyName;
  /** One of the layouts that a family's folders have; default: the family's first. */
  layout?: Family;
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

export const sizes = {
  embedding: 64,
  feedForward: 96,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headDim: 16,
  vocabulary: 262,
  delta: { keyHeads: 2, valueHeads: 4, headDim: 16 },
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
  const { family: name = 'llama', dtype = 'f32' } = options;
  const family = options.layout ?? families.get(name)!;
  const { classes, modelTypes, tensors: changes, defaults } = family.huggingFace;
  const { embedding, vocabulary, ...others } = sizes;
  const { convolution, deltaNet } = family.block;
  const config: Record<string, unknown> = {
    architectures: [classes[0]],
    model_type: modelTypes.at(-1),
    hidden_size: embedding,
    intermediate_size: others.feedForward,
    num_hidden_layers: others.layers,
    num_attention_heads: others.heads,
    num_key_value_heads: others.kvHeads,
    head_dim: others.headDim,
    vocab_size: vocabulary,
    max_position_embeddings: 512,
    rms_norm_eps: 1e-5,
    tie_word_embeddings: true,
    hidden_act: defaults.activation ?? 'silu',
    ...folderConfigs[classes[0]!],
  };
  const stated = parseJson(JSON.stringify(config), 'config.json') as JsonObject;
  const described = readSizes(new HfConfig(stated, { add() {} }), family);
  const { kinds, layers, perLayer } = described;
  const random = new Random(options.seed ?? 1);
  const tensors = new Map<string, { shape: number[]; values: Float32Array }>();
  const add = (name: string, shape: number[], mean = 0) => {
    const size = shape.reduce((a, b) => a * b, 1);
    tensors.set(name, { shape, values: new Float32Array(size).map(() => mean + 0.1 * random.normal()) });
  };
  const norm = 1 - (changes?.normShift ?? 0);
  add('model.embed_tokens.weight', [vocabulary, embedding]);
  add(`model.${family.outputNorm?.module ?? 'norm'}.weight`, [embedding], norm);
  if (perLayer) {
    add('model.embed_tokens_per_layer.weight', [vocabulary, perLayer * layers]);
    add('model.per_layer_model_projection.weight', [perLayer * layers, embedding]);
    add('model.per_layer_projection_norm.weight', [perLayer], 1);
  }
  for (let l = 0; l < layers; l++) {
    const own = sizesAt(described, l);
    const at = (module: string, kind = 'weight') => `model.layers.${l}.${module}.${kind}`;
    for (const { module, width, unshifted, bare } of normRowsAt({ family, kinds, perLayer }, l))
      add(bare ? `model.layers.${l}.${module}` : at(module), [widthOf(own, width)], unshifted ? 1 : norm);
    const rows = linearRowsAt({ family, kinds, perLayer }, l);
    if (kinds?.[l] === 'convolution') add(at(convolution!.module), [embedding, 1, 3]);
    if (kinds?.[l] === 'delta') {
      const named = (name: string) => `model.layers.${l}.${deltaNet!.module}.${name}`;
      add(named('conv1d.weight'), [convolvedWidth(sizes), 1, 4]);
      for (const name of ['A_log', 'dt_bias']) add(named(name), [sizes.delta.valueHeads], 0.3);
    }
    for (const module of new Set(rows.map((row) => row.module))) {
      const inside = rows.filter((row) => row.module === module);
      const outputs = inside.reduce((sum, row) => sum + rowShape(own, row)[1], 0);
      add(at(module), [outputs, rowShape(own, inside[0]!)[0]]);
      if (inside[0]!.bias === 'usual') add(at(module, 'bias'), [outputs]);
    }
  }
  options.tensors?.(tensors);
  const files: Record<string, string | undefined> = {
    'config.json': JSON.stringify({ ...config, ...options.config }),
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
