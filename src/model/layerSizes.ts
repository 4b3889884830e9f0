import { LoamError } from '../base/errors.js';
import { type Family, type LayerKind, type LayerSizes, type Sizes, sizesAt } from '../families/family.js';
import { limits } from '../families/huggingFace.js';
import type { Gguf } from '../formats/gguf/Gguf.js';
import { VariantError, whole } from './metadata.js';

/** Layers of one model that differ in their sizes, and in whose keys and values they attend to (`LocalAttention` with `listed`). */

/** What a file lists layer by layer. */
export interface ListedLayers {
  readonly sizes: Pick<Sizes, 'each' | 'kinds' | 'perLayer'> & LayerSizes;
  /** Whether each sees the last tokens only. */
  readonly windows: readonly boolean[];
}

/** @param headDim of the layers that see everything */
export function listedLayers(gguf: Gguf, { name }: Family, layers: number, headDim: number): ListedLayers {
  const key = (part: string) => `${name}.${part}`;
  const windows = listOf(gguf, key('attention.sliding_window_pattern')).map(Boolean);
  if (!windows.includes(true)) {
    throw new LoamError({
      code: 'damaged',
      found: 'no layer that sees the last tokens only',
      expected: 'at least one, without which libllama ends',
      where: gguf.path,
    });
  }
  const local = whole(gguf, key('attention.key_length_swa'), limits.width, headDim);
  const kvHeads = numbersOf(gguf, key('attention.head_count_kv'), layers, limits.heads);
  const feedForward = numbersOf(gguf, key('feed_forward_length'), layers, limits.width);
  const each = windows.map((inWindow, l) => ({
    kvHeads: kvHeads[l]!,
    headDim: inWindow ? local : headDim,
    feedForward: feedForward[l]!,
  }));
  const kinds = keyKinds(gguf, key('attention.shared_kv_layers'), windows);
  const shared = kinds.flatMap((kind, l) => (kind === 'sharedKeys' ? [l] : []));
  const odd = shared.find((l) => kvHeads[l] !== kvHeads[sourceOf(shared[0]!, windows[l]!)]);
  if (odd !== undefined) {
    throw new VariantError({
      found: `a layer ${odd} with another number of key/value heads than the layer whose it shares`,
      where: gguf.path,
    });
  }
  const own = gguf.number(key('embedding_length_per_layer_input'), 0);
  return {
    sizes: {
      kvHeads: Math.max(...kvHeads),
      headDim,
      feedForward: Math.max(...feedForward),
      each,
      kinds,
      ...(own > 0 && { perLayer: whole(gguf, key('embedding_length_per_layer_input'), limits.width) }),
    },
    windows,
  };
}

/** The layer whose keys and values those from `first` on attend to, where they see as much. */
const sourceOf = (first: number, inWindow: boolean): number => first - (inWindow ? 2 : 1);

/** Layers without keys of their own attend to those of the last layer before them that sees as much (llama-model.cpp, create_memory). */
function keyKinds(gguf: Gguf, key: string, windows: readonly boolean[]): LayerKind[] {
  const layers = windows.length;
  const own = layers - gguf.number(key, 0);
  const follow = own >= 2 && (own === layers || (windows[own - 2] && !windows[own - 1]));
  if (!follow) {
    throw new VariantError({
      found: `keys and values of ${own} of ${layers} layers`,
      expected: 'at least two, the last of which sees everything, and the one before it the last tokens',
      where: gguf.path,
    });
  }
  return windows.map((_, l) => {
    if (l >= own) return 'sharedKeys';
    return gguf.tensors.has(`blk.${l}.attn_v.weight`) ? 'attention' : 'keysAlone';
  });
}

/** Its length is that of the layers (`checkNativeKeys`). */
function listOf(gguf: Gguf, key: string): readonly unknown[] {
  const value = gguf.metadata.get(key);
  if (value?.type === 'array') return [...(value.value as Iterable<unknown>)];
  throw new VariantError({ found: `${key} does not say it of each layer`, where: gguf.path });
}

/** A number for all layers, or one for each. */
function numbersOf(gguf: Gguf, key: string, layers: number, most: number): readonly number[] {
  if (gguf.metadata.get(key)?.type !== 'array') return new Array<number>(layers).fill(whole(gguf, key, most));
  const list = listOf(gguf, key);
  if (list.every((n): n is number => typeof n === 'number' && n >= 1 && n <= most)) return list;
  throw new LoamError({
    code: 'damaged',
    found: `${key} is [${list.join(', ')}]`,
    expected: `whole numbers from 1 to ${most}`,
    where: gguf.path,
  });
}

/** Keys and values that a layer leaves to later ones beside the residual stream: in the rows from `from` on, the keys first. */
export interface LeftKeys {
  readonly layer: number;
  readonly from: number;
  /** Of the keys, and of the values. */
  readonly width: number;
}

/** What is left by which layer, where some share keys and values. */
export function leftKeys(sizes: Sizes, windows: readonly boolean[]): LeftKeys[] {
  const first = sizes.kinds?.indexOf('sharedKeys') ?? -1;
  if (first < 0) return [];
  let from = 0;
  return [sourceOf(first, true), sourceOf(first, false)]
    .filter((layer) => windows.slice(first).includes(windows[layer]!))
    .map((layer) => {
      const { kvHeads, headDim } = sizesAt(sizes, layer);
      const left = { layer, from, width: kvHeads * headDim };
      from += 2 * left.width;
      return left;
    });
}
