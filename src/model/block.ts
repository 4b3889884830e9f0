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

/** What a layer asks, matches and passes on, head by head: each [headDim, heads or kvHeads, tokens], positions rotated in. */
interface Heads {
  queries: Tensor;
  keys: Tensor;
  values: Tensor;
}

interface Attention extends Omit<Heads, 'queries'> {
  /** Input of `attn_output`: [heads·headDim, N]. */
  context: Tensor;
}

/** One layer in a graph, with the correction it wears. Residual streams x are [embedding, tokens]. */
export class LayerGraph {
  constructor(
    readonly ops: Operations,
    private readonly hyper: Hyperparameters,
    private readonly layer: BlockWeights,
    private readonly lora: LayerLora = {},
  ) {}

  /** The whole block: residual stream in, residual stream out. With `rows` only those tokens come out, see `rest`. */
  run(x: Tensor, batch: BatchInputs, rows?: Tensor): Tensor {
    return this.rest(x, this.attend(x, batch).context, rows);
  }

  /** Self-attention up to, and without, the output projection. */
  attend(x: Tensor, batch: BatchInputs): Attention {
    const heads = this.heads(x, batch);
    return { context: this.attention(heads, batch), keys: heads.keys, values: heads.values };
  }

  /** Queries, keys and values of a residual stream that enters the layer. */
  heads(x: Tensor, batch: Positions): Heads {
    const { ops, layer } = this;
    const { headDim, heads, kvHeads, normEpsilon, rope } = this.hyper;
    const [, tokens] = x.ne;
    const input = this.normed(x, layer.norms.attn_norm);
    const read = (part: LayerLinear, n: number) => ops.reshape(this.project(part, input), headDim, n, tokens);
    const rotate = (part: 'attn_q' | 'attn_k', y: Tensor) => {
      const weight = layer.norms[`${part}_norm` satisfies HeadNorm];
      const even = weight ? ops.mul(ops.rmsNorm(y, normEpsilon), weight) : y;
      return ops.rope(even, batch.positions, batch.ropeFactors, this.local?.rope ?? rope);
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
  attention({ queries, keys, values }: Heads, batch: Attending): Tensor {
    const { ops } = this;
    const { length: T, sequences: B } = batch;
    const { headDim, heads, kvHeads, attentionScale, family } = this.hyper;
    // Where keys are f16, flash attention rounds queries to it too: scaled before or after, as llama.cpp does for the family.
    const scaled = batch.halfKeys && family.block.scaledQueries;
    const asked = scaled ? ops.scale(queries, attentionScale) : queries;
    // Keys of a prefix are the same for all sequences, so these attend as one long sequence whose mask keeps them apart: the queries
    // share the prefix instead of each having a copy of it, and fill the kernel's tiles (64 queries), which short sequences don't.
    const [queriesEach, sequences] = batch.prefix && !batch.prefix.each ? [T * B, 1] : [T, B];
    // [headDim, n, N] -> [headDim, queries, n, sequences], the order that attention reads.
    const byHead = (y: Tensor, n: number) =>
      ops.permute(ops.reshape(y, headDim, n, queriesEach, sequences), 0, 2, 1, 3);
    const withPrefix = (own: Tensor, shared: Tensor | undefined) => {
      if (shared) return ops.concat(sequences > 1 ? ops.repeatTo(shared, 1, 1, 1, sequences) : shared, own, 1);
      return batch.halfKeys ? ops.cast(own, 'f16') : own;
    };
    const attended = ops.flashAttention(
      byHead(asked, heads),
      withPrefix(byHead(keys, kvHeads), batch.prefix?.keys),
      withPrefix(byHead(values, kvHeads), batch.prefix?.values),
      batch.mask(this.local?.window),
      scaled ? 1 : attentionScale,
    ); // [headDim, heads, queries, sequences]
    return ops.reshape(attended, headDim * heads, T * B);
  }

  /**
   * What follows attention, given its context: residual stream out. With `rows` (i32) only those tokens come out, and it is computed for
   * them alone: after the last layer nothing else is needed.
   */
  rest(x: Tensor, context: Tensor, rows?: Tensor): Tensor {
    if (rows) {
      const { ops, hyper, layer, lora } = this;
      const some = new LayerGraph(ops, hyper, layer, onRows(ops, lora, rows));
      return some.rest(ops.getRows(x, rows), ops.getRows(context, rows));
    }
    const middle = this.afterAttention(x, context);
    return this.afterFeedForward(middle, this.feedForward(middle));
  }

  /** Residual stream after attention: x + attn_output(context). */
  afterAttention(x: Tensor, context: Tensor): Tensor {
    return this.ops.add(this.written('attn_output', this.project('attn_output', context)), x);
  }

  /** Input of `ffn_down`, [feedForward, tokens], for a residual stream after attention. */
  feedForward(x: Tensor): Tensor {
    const { ops, layer } = this;
    const { feedForward, family } = this.hyper;
    const input = this.normed(x, layer.norms.ffn_norm);
    const both = layer.linears.ffn_gate ? undefined : this.project('ffn_up', input);
    const gate = both ? ops.slice(both, 0, 0, feedForward) : this.project('ffn_gate', input);
    const up = both ? ops.slice(both, 0, feedForward, feedForward) : this.project('ffn_up', input);
    return family.block.activation === 'geglu' ? ops.geglu(gate, up) : ops.swiglu(gate, up);
  }

  /** Residual stream after the block: x + ffn_down(inner). */
  afterFeedForward(x: Tensor, inner: Tensor): Tensor {
    return this.ops.add(this.written('ffn_down', this.project('ffn_down', inner)), x);
  }

  /** y = W·x (+ bias) (+ LoRA); x [inputs, n] -> [outputs, n]. */
  project(part: LayerLinear, x: Tensor): Tensor {
    const { ops, layer, lora } = this;
    let y = layer.linears[part]!.apply(ops, x);
    const bias = layer.biases[part];
    if (bias) y = ops.add(y, bias);
    const low = lora[part];
    if (!low) return y;
    const inner = ops.mulMat(low.a, low.mask ? ops.mul(x, low.mask) : x); // [rank, N]
    const correction = ops.outProd(low.b, ops.transpose(inner));
    return ops.add(y, low.scale === 1 ? correction : ops.scale(correction, low.scale));
  }

  /** What a linear adds to the residual stream, given its outputs: these, normed once more or scaled where the family does so. */
  written(part: 'attn_output' | 'ffn_down', outputs: Tensor): Tensor {
    const { ops } = this;
    const { normEpsilon, residualScale } = this.hyper;
    const weight = this.layer.norms[postNormOf(part)];
    const normed = weight ? ops.mul(ops.rmsNorm(outputs, normEpsilon), weight) : outputs;
    return residualScale === 1 ? normed : ops.scale(normed, residualScale);
  }

  /** What is different in a layer that looks at the last tokens only. */
  private get local(): Hyperparameters['local'] {
    const { local } = this.hyper;
    return local?.layers[this.layer.index] ? local : undefined;
  }

  private normed(x: Tensor, weight: Tensor): Tensor {
    const { ops } = this;
    return ops.once(x, 'normed', () => ops.mul(ops.rmsNorm(x, this.hyper.normEpsilon), weight));
  }
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
    /** Lets the pages of its weights in the model's file leave memory until they are used again. */
    readonly release: () => void,
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
    this.release();
  }
}
