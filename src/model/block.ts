import type { Operations } from '../engine/operations.js';
import type { Linear } from '../engine/placement.js';
import type { Tensor } from '../engine/tensor.js';
import {
  type Family,
  type HeadNorm,
  type InputNorm,
  type LayerLinear,
  type LayerNorm,
  linearRows,
  linearsOf,
  normRows,
  postNormOf,
} from '../families/family.js';
import type { Hyperparameters } from './hyperparameters.js';
import type { Weights } from './model.js';

/** The transformer block as graph operations: one place where every family's forward pass is written down. */

/** What the block needs of a layer. */
export type BlockWeights = Pick<Layer, 'index' | 'linears' | 'norms' | 'biases'>;

/** Low-rank correction of one linear: W·x + scale·B·(A·x) (Hu et al. 2021). */
interface Lora {
  /** [inputs, rank] */
  a: Tensor;
  /** [outputs, rank]: Bᵀ in rows. A product over a rank of 8 suits no kernel; as a sum of outer products it is three times faster. */
  b: Tensor;
  /** alpha / rank */
  scale: number;
  /** Dropout while training: f32 [inputs, N], 0 or 1/(1 - p); multiplies what the correction reads. */
  mask?: Tensor;
}
export type LayerLora = Partial<Record<LayerLinear, Lora>>;

/** What a block needs to know of the batch it runs on; N = length · sequences tokens, sequence after sequence. */
export interface BatchInputs {
  /** Tokens a sequence, padding included. */
  length: number;
  sequences: number;
  /** i32 [N] */
  positions: Tensor;
  /**
   * f16, 0 where a query (ne1) may look at a key (ne0), else -inf: [length, length] for every sequence alike, or with a prefix
   * [prefix + N, N] for all sequences together. With `window` a query sees that many tokens at most, itself included. Made when it
   * is first asked for.
   */
  mask: (window?: number) => Tensor;
  /** f32 [dimensions/2], or null. */
  ropeFactors: Tensor | null;
  /** Rounds keys and values to f16, as libllama's cache does. */
  halfKeys?: boolean;
  /**
   * Keys and values f32 [headDim, prefix, kvHeads] that every sequence sees before its own. With `each` every sequence gets a copy
   * and attends for itself, which suits a short prefix; then the mask is [prefix + length, length].
   */
  prefix?: { keys: Tensor; values: Tensor; each?: boolean };
}

/** Where tokens stand. */
export type Positions = Pick<BatchInputs, 'positions' | 'ropeFactors'>;
/** Which tokens see which. */
export type Attending = Omit<BatchInputs, keyof Positions>;

/** y = W·x (+ bias) (+ LoRA); x [inputs, n] -> [outputs, n]. */
export function project(ops: Operations, layer: BlockWeights, part: LayerLinear, x: Tensor, lora?: LayerLora): Tensor {
  let y = layer.linears[part]!.apply(ops, x);
  const bias = layer.biases[part];
  if (bias) y = ops.add(y, bias);
  const low = lora?.[part];
  if (!low) return y;
  const inner = ops.mulMat(low.a, low.mask ? ops.mul(x, low.mask) : x); // [rank, N]
  const correction = ops.outProd(low.b, ops.transpose(inner));
  return ops.add(y, low.scale === 1 ? correction : ops.scale(correction, low.scale));
}

function normed(ops: Operations, h: Hyperparameters, x: Tensor, weight: Tensor): Tensor {
  return ops.once(x, 'normed', () => ops.mul(ops.rmsNorm(x, h.normEpsilon), weight));
}

/** What a linear adds to the residual stream, given its outputs: these, normed once more or scaled where the family does so. */
export function written(
  ops: Operations,
  h: Hyperparameters,
  layer: BlockWeights,
  part: 'attn_output' | 'ffn_down',
  outputs: Tensor,
): Tensor {
  const weight = layer.norms[postNormOf(part)];
  const normed = weight ? ops.mul(ops.rmsNorm(outputs, h.normEpsilon), weight) : outputs;
  return h.residualScale === 1 ? normed : ops.scale(normed, h.residualScale);
}

/** What a layer asks, matches and passes on, head by head: each [headDim, heads or kvHeads, tokens], positions rotated in. */
interface Heads {
  queries: Tensor;
  keys: Tensor;
  values: Tensor;
}

/** What is different in a layer that looks at the last tokens only. */
const localOf = (h: Hyperparameters, { index }: Pick<BlockWeights, 'index'>) =>
  h.local?.layers[index] ? h.local : undefined;

/** Queries, keys and values of a residual stream x [embedding, tokens] that enters the layer. */
export function headsOf(
  ops: Operations,
  h: Hyperparameters,
  layer: BlockWeights,
  x: Tensor,
  batch: Positions,
  lora?: LayerLora,
): Heads {
  const { headDim, heads, kvHeads } = h;
  const [, tokens] = x.ne;
  const input = normed(ops, h, x, layer.norms.attn_norm);
  const local = localOf(h, layer);
  const read = (part: LayerLinear, n: number) =>
    ops.reshape(project(ops, layer, part, input, lora), headDim, n, tokens);
  const rotate = (part: 'attn_q' | 'attn_k', y: Tensor) => {
    const weight = layer.norms[`${part}_norm` satisfies HeadNorm];
    const even = weight ? ops.mul(ops.rmsNorm(y, h.normEpsilon), weight) : y;
    return ops.rope(even, batch.positions, batch.ropeFactors, local ? local.rope : h.rope);
  };
  if (layer.linears.attn_qkv) {
    const all = read('attn_qkv', heads + 2 * kvHeads);
    return {
      queries: rotate('attn_q', ops.slice(all, 1, 0, heads)),
      keys: rotate('attn_k', ops.slice(all, 1, heads, kvHeads)),
      values: ops.cont(ops.slice(all, 1, heads + kvHeads, kvHeads)),
    };
  }
  return {
    queries: rotate('attn_q', read('attn_q', heads)),
    keys: rotate('attn_k', read('attn_k', kvHeads)),
    values: read('attn_v', kvHeads),
  };
}

/** What the queries of a batch see, the input of `attn_output`: [heads·headDim, N]. */
export function attention(
  ops: Operations,
  h: Hyperparameters,
  layer: Pick<BlockWeights, 'index'>,
  { queries, keys, values }: Heads,
  batch: Attending,
): Tensor {
  const { length: T, sequences: B } = batch;
  const { headDim, heads, kvHeads } = h;
  // Where keys are f16, flash attention rounds queries to it too: scaled before or after, as llama.cpp does for the family.
  const scaled = batch.halfKeys && h.family.block.scaledQueries;
  const asked = scaled ? ops.scale(queries, h.attentionScale) : queries;
  // Keys of a prefix are the same for all sequences, so these attend as one long sequence whose mask keeps them apart: the queries
  // share the prefix instead of each having a copy of it, and fill the kernel's tiles (64 queries), which short sequences don't.
  const [queriesEach, sequences] = batch.prefix && !batch.prefix.each ? [T * B, 1] : [T, B];
  // [headDim, n, N] -> [headDim, queries, n, sequences], the order that attention reads.
  const byHead = (y: Tensor, n: number) => ops.permute(ops.reshape(y, headDim, n, queriesEach, sequences), 0, 2, 1, 3);
  const withPrefix = (own: Tensor, shared: Tensor | undefined) => {
    if (shared) return ops.concat(sequences > 1 ? ops.repeatTo(shared, 1, 1, 1, sequences) : shared, own, 1);
    return batch.halfKeys ? ops.cast(own, 'f16') : own;
  };
  const attended = ops.flashAttention(
    byHead(asked, heads),
    withPrefix(byHead(keys, kvHeads), batch.prefix?.keys),
    withPrefix(byHead(values, kvHeads), batch.prefix?.values),
    batch.mask(localOf(h, layer)?.window),
    scaled ? 1 : h.attentionScale,
  ); // [headDim, heads, queries, sequences]
  return ops.reshape(attended, headDim * heads, T * B);
}

interface Attention extends Omit<Heads, 'queries'> {
  /** Input of `attn_output`: [heads·headDim, N]. */
  context: Tensor;
}

/** Self-attention up to, and without, the output projection. x is the residual stream entering the layer, [embedding, N]. */
export function attend(
  ops: Operations,
  h: Hyperparameters,
  layer: BlockWeights,
  x: Tensor,
  batch: BatchInputs,
  lora?: LayerLora,
): Attention {
  const heads = headsOf(ops, h, layer, x, batch, lora);
  return { context: attention(ops, h, layer, heads, batch), keys: heads.keys, values: heads.values };
}

/** Residual stream after attention: x + attn_output(context), normed before it is added where the family does so. */
export function afterAttention(
  ops: Operations,
  h: Hyperparameters,
  layer: BlockWeights,
  x: Tensor,
  context: Tensor,
  lora?: LayerLora,
): Tensor {
  return ops.add(written(ops, h, layer, 'attn_output', project(ops, layer, 'attn_output', context, lora)), x);
}

/** Input of `ffn_down`, [feedForward, n], for a residual stream x [embedding, n] after attention. */
export function feedForward(
  ops: Operations,
  h: Hyperparameters,
  layer: BlockWeights,
  x: Tensor,
  lora?: LayerLora,
): Tensor {
  const input = normed(ops, h, x, layer.norms.ffn_norm);
  const both = layer.linears.ffn_gate ? undefined : project(ops, layer, 'ffn_up', input, lora);
  const gate = both ? ops.slice(both, 0, 0, h.feedForward) : project(ops, layer, 'ffn_gate', input, lora);
  const up = both ? ops.slice(both, 0, h.feedForward, h.feedForward) : project(ops, layer, 'ffn_up', input, lora);
  return h.family.block.activation === 'geglu' ? ops.geglu(gate, up) : ops.swiglu(gate, up);
}

/** Residual stream after the block: x + ffn_down(inner), normed before it is added where the family does so. */
export function afterFeedForward(
  ops: Operations,
  h: Hyperparameters,
  layer: BlockWeights,
  x: Tensor,
  inner: Tensor,
  lora?: LayerLora,
): Tensor {
  return ops.add(written(ops, h, layer, 'ffn_down', project(ops, layer, 'ffn_down', inner, lora)), x);
}

/**
 * What follows attention, given its context: residual stream out. With `rows` (i32) only those tokens come out, and it is computed for
 * them alone: after the last layer nothing else is needed.
 */
export function rest(
  ops: Operations,
  h: Hyperparameters,
  layer: BlockWeights,
  x: Tensor,
  context: Tensor,
  lora?: LayerLora,
  rows?: Tensor,
): Tensor {
  const of = (tensor: Tensor) => (rows ? ops.getRows(tensor, rows) : tensor);
  const low = rows && lora ? onRows(ops, lora, rows) : lora;
  const middle = afterAttention(ops, h, layer, of(x), of(context), low);
  return afterFeedForward(ops, h, layer, middle, feedForward(ops, h, layer, middle, low), low);
}

/** Masks of dropout have a column for every token; what comes after attention is computed for some of them. */
function onRows(ops: Operations, lora: LayerLora, rows: Tensor): LayerLora {
  return Object.fromEntries(
    Object.entries(lora).map(([part, { mask, ...factors }]) => [
      part,
      mask ? { ...factors, mask: ops.once(mask, 'rows', () => ops.getRows(mask, rows)) } : factors,
    ]),
  );
}

/**
 * The whole block: residual stream in, residual stream out. With `rows` only those tokens come out, see `rest`.
 */
export function block(
  ops: Operations,
  h: Hyperparameters,
  layer: BlockWeights,
  x: Tensor,
  batch: BatchInputs,
  lora?: LayerLora,
  rows?: Tensor,
): Tensor {
  const { context } = attend(ops, h, layer, x, batch, lora);
  return rest(ops, h, layer, x, context, lora, rows);
}

/** Weights of the linears that the family has. */
export type Linears = Readonly<Partial<Record<LayerLinear, Linear>>>;
/** Weights of a layer's norms, f32: [headDim] for those of heads, else [embedding]. */
type LayerNorms = Readonly<Record<InputNorm, Tensor> & Partial<Record<LayerNorm, Tensor>>>;

/** The frozen weights of one transformer block, placed for computing. */
export class Layer implements Disposable {
  private constructor(
    readonly index: number,
    readonly linears: Linears,
    readonly norms: LayerNorms,
    readonly biases: Readonly<Partial<Record<LayerLinear, Tensor>>>,
    private readonly owned: Disposable[],
    private readonly onDispose: () => void,
  ) {}

  static async load(
    weights: Weights,
    family: Family,
    index: number,
    place: (name: string) => Promise<Linear> = (tensor) => weights.linear(tensor),
  ): Promise<Layer> {
    const owned: Disposable[] = [];
    const name = (part: string, kind = 'weight') => `blk.${index}.${part}.${kind}`;
    const plain = async (tensorName: string) => {
      const { tensor, buffer } = await weights.plain(tensorName);
      owned.push(buffer);
      return tensor;
    };
    try {
      const linears: Partial<Record<LayerLinear, Linear>> = {};
      const biases: Partial<Record<LayerLinear, Tensor>> = {};
      for (const { name: part, bias } of linearRows(family)) {
        const linear = await place(name(part));
        owned.push(linear);
        linears[part] = linear;
        if (bias && weights.has(name(part, 'bias'))) biases[part] = await plain(name(part, 'bias'));
      }
      const norms: Partial<Record<LayerNorm, Tensor>> = {};
      for (const { name: norm } of normRows(family)) norms[norm] = await plain(name(norm));
      const names = linearsOf(family).map((part) => name(part));
      return new Layer(index, linears, norms as LayerNorms, biases, owned, () => weights.release(names));
    } catch (error) {
      for (const item of owned) item[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    for (const item of this.owned.splice(0)) item[Symbol.dispose]();
    this.onDispose();
  }
}
