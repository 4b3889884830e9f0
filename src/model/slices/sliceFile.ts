import { open, rm } from 'node:fs/promises';
import { explainWriteError, makeFolder } from '../../base/io.js';
import { sweepOnce, temporaryPath } from '../../base/unfinished.js';
import { tensorTypes } from '../../engine/tensorTypes.js';
import type { Gguf, GgufFile, GgufTensor } from '../../formats/gguf/Gguf.js';
import { f32, type GgufValue, str, u32 } from '../../formats/gguf/values.js';
import { type TensorToWrite, writeGgufTo } from '../../formats/gguf/writeGguf.js';

/** Layers from `first` to the one before `end`. */
export interface LayerRange {
  readonly first: number;
  readonly end: number;
  /**
   * Layers that a slice has behind them, which nothing needs to compute: libllama ends the process where no layer reads an input of the
   * graph, such as the states of a model of which some layers hold states and the others keys and values.
   */
  readonly behind?: readonly number[];
}

const layersOf = ({ first, end, behind = [] }: LayerRange): number[] => [
  ...Array.from({ length: end - first }, (_, i) => first + i),
  ...behind,
];

/** Layers that take part in predicting the next token. Those behind them, of which some models have one, predict tokens further on. */
export function predictingLayers(gguf: Gguf): number {
  const key = (part: string) => `${gguf.string('general.architecture')}.${part}`;
  return gguf.number(key('block_count')) - gguf.number(key('nextn_predict_layers'), 0);
}

/**
 * Layers of a model as a model of their own, whose vocabulary is one token: fed with residual streams in the place of embeddings, it
 * is a piece of libllama's own forward pass. The file is a temporary one in `folder`, for whoever loads it at once and removes it.
 * @param file the model's, open
 * @returns its path
 */
export async function writeSlice(gguf: Gguf, file: GgufFile, range: LayerRange, folder: string): Promise<string> {
  const path = temporaryPath(folder);
  const layers = layersOf(range);
  try {
    await makeFolder(folder, 0o700);
    await sweepOnce(folder);
    await using slice = await open(path, 'wx', 0o600);
    await writeGgufTo(slice, path, {
      metadata: sliceMetadata(gguf, layers),
      tensors: [...gguf.tensors.values()].flatMap((tensor) => sliceTensor(gguf, file, tensor, layers)),
    });
    return path;
  } catch (error) {
    await rm(path, { force: true });
    throw explainWriteError(error, folder);
  }
}

/** Bytes of the largest slice of so many layers, about. */
export function sliceBytes({ tensors }: Gguf, layers: number): number {
  const sizes: number[] = [];
  let others = 0;
  for (const { name, bytes } of tensors.values()) {
    const layer = layerOf(name);
    if (layer) sizes[layer.index] = (sizes[layer.index] ?? 0) + bytes;
    else if (!vocabularyMatrix.test(name)) others += bytes;
  }
  return others + layers * Math.max(0, ...sizes.map((size) => size ?? 0));
}

const vocabularyMatrix = /^(token_embd|output)\.(weight|bias)$/;

export function layerOf(name: string): { index: number; rest: string } | undefined {
  const match = /^blk\.(\d+)\.(.+)$/.exec(name);
  return match ? { index: Number(match[1]), rest: match[2]! } : undefined;
}

/**
 * All that the model says of itself but its vocabulary, with what it says layer by layer cut as the layers are. A factor of embeddings is
 * 1: what enters has been multiplied by it, where it came out of the embedding table. Without the key some have another by default.
 */
function sliceMetadata(gguf: Gguf, layers: readonly number[]): Map<string, GgufValue> {
  const own = `${gguf.string('general.architecture')}.`;
  const all = gguf.number(`${own}block_count`);
  const kept = new Map<string, GgufValue>();
  for (const [key, value] of gguf.metadata) {
    const part = key.startsWith(own) ? key.slice(own.length) : '';
    if (key.startsWith('tokenizer.') || part === 'nextn_predict_layers') continue;
    // As many sections as layers would be a coincidence.
    const each =
      value.type === 'array' && value.value.length === all && part !== '' && part !== 'rope.dimension_sections';
    if (each) kept.set(key, { ...value, value: pick(value.value, layers) } as GgufValue);
    else if (part === 'leading_dense_block_count') {
      const dense = gguf.number(key);
      const sparse = layers.findIndex((layer) => layer >= dense);
      kept.set(key, u32(sparse < 0 ? layers.length : sparse));
    } else kept.set(key, value);
  }
  kept.set(`${own}block_count`, u32(layers.length));
  kept.set(`${own}vocab_size`, u32(1));
  kept.set(`${own}embedding_scale`, f32(1));
  kept.set('tokenizer.ggml.model', str('none'));
  return kept;
}

/** Elements by their places, in an array of the same kind. */
function pick<T extends ArrayLike<unknown>>(values: T, places: readonly number[]): unknown {
  const chosen = places.map((place) => values[place]);
  return Array.isArray(values)
    ? chosen
    : (values.constructor as unknown as { from(list: unknown[]): unknown }).from(chosen);
}

function sliceTensor(gguf: Gguf, file: GgufFile, tensor: GgufTensor, layers: readonly number[]): TensorToWrite[] {
  const { name, type, shape } = tensor;
  const data = async () => await file.read(name);
  const layer = layerOf(name);
  if (layer) {
    const places = [...layers.keys()].filter((place) => layers[place] === layer.index);
    return places.map((place) => ({ name: `blk.${place}.${layer.rest}`, type, shape, data }));
  }
  const vocabulary = gguf.tensor('token_embd.weight').shape[1] ?? 1;
  const last = shape.length - 1;
  if (!vocabularyMatrix.test(name) || shape[last] !== vocabulary) return [{ name, type, shape, data }];
  const cut = shape.map((n, i) => (i === last ? 1 : n));
  return [{ name, type: tensorTypes.f32, shape: cut, data: new Uint8Array(4 * cut.reduce((p, n) => p * n, 1)) }];
}
