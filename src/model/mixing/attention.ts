import type { Tensor } from '../../engine/tensor.js';
import { type HeadNorm, kindOf, sizesAt } from '../../families/family.js';
import type { Hyperparameters } from '../hyperparameters.js';
import type { Attending, Brought, Mixed, Mixing, Positions, Within } from './mixing.js';

/** Queries, keys and values head by head: each [headDim, heads or kvHeads, tokens], positions rotated in; and gates of what comes of them. */
type Heads = Readonly<Record<'queries' | 'keys' | 'values', Tensor> & { gates?: Tensor }>;

/** Attention (Vaswani et al. 2017) with the families' variants. */
export class Attention implements Mixing {
  constructor(private readonly at: Within) {}

  bring(input: Tensor, batch: Positions, beside: () => Tensor): Brought {
    const { ops, hyper, layer } = this.at;
    const { headDim, heads, kvHeads } = this.sizes;
    const [, tokens] = input.ne;
    const read = (part: 'attn_q' | 'attn_qkv', n: number, width = headDim) =>
      ops.reshape(this.at.project(part, input), width, n, tokens);
    const turn = (y: Tensor) => {
      if (!this.isRotated) return y;
      const [rope, factors] = this.local ? [this.local.rope, null] : [hyper.rope, batch.ropeFactors];
      return ops.rope(y, batch.positions, factors, rope);
    };
    const rotate = (part: 'attn_q' | 'attn_k', y: Tensor) => turn(this.even(part, y));
    if (layer.linears.attn_qkv) {
      const all = read('attn_qkv', heads + 2 * kvHeads);
      return {
        queries: rotate('attn_q', ops.slice(all, 1, 0, heads)),
        keys: rotate('attn_k', ops.slice(all, 1, heads, kvHeads)),
        values: ops.cont(ops.slice(all, 1, heads + kvHeads, kvHeads)),
      };
    }
    const both = hyper.family.block.gatedAttention && read('attn_q', heads, 2 * headDim);
    const { keys, values } = kindOf(hyper, layer.index) === 'sharedKeys' ? this.left(beside()) : this.own(input);
    return {
      queries: rotate('attn_q', both ? ops.cont(ops.slice(both, 0, 0, headDim)) : read('attn_q', heads)),
      keys: turn(keys),
      values,
      ...(both && { gates: ops.cont(ops.slice(both, 0, headDim, headDim)) }),
    };
  }

  mix(brought: Brought, batch: Attending): Mixed {
    const { ops, hyper } = this.at;
    const { queries, keys, values, gates } = brought as Heads;
    const { length: T, sequences: B } = batch;
    const { headDim, heads, kvHeads } = this.sizes;
    const { attentionScale, family } = hyper;
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
    const flat = ops.reshape(attended, headDim * heads, T * B);
    const context = gates ? ops.mul(flat, ops.sigmoid(ops.reshape(gates, headDim * heads, T * B))) : flat;
    const carry = (y: Tensor) => ops.permute(y, 0, 2, 1, 3);
    return { context, carried: () => ({ keys: carry(keys), values: carry(values) }) };
  }

  /** Keys, not rotated yet, and values of the layer's own, each [headDim, kvHeads, tokens]. */
  own(input: Tensor): Record<'keys' | 'values', Tensor> {
    const { ops, hyper, layer } = this.at;
    const { headDim, kvHeads } = this.sizes;
    const read = (part: 'attn_k' | 'attn_v') =>
      ops.once(input, part, () => ops.reshape(this.at.project(part, input), headDim, kvHeads, input.ne[1]));
    const values = read(layer.linears.attn_v ? 'attn_v' : 'attn_k');
    const { evenValues } = hyper.family.block;
    return {
      keys: ops.once(input, 'keys', () => this.even('attn_k', read('attn_k'))),
      values: evenValues ? ops.once(input, 'values', () => ops.rmsNorm(values, hyper.normEpsilon)) : values,
    };
  }

  /** The same of the layer that left them beside the stream. */
  private left(beside: Tensor): Record<'keys' | 'values', Tensor> {
    const { ops, hyper, layer } = this.at;
    const { headDim, kvHeads } = this.sizes;
    const sees = (index: number) => hyper.local?.layers[index] ?? false;
    const { from, width } = hyper.left!.find((left) => sees(left.layer) === sees(layer.index))!;
    const part = (from: number) =>
      ops.reshape(ops.cont(ops.slice(beside, 0, from, width)), headDim, kvHeads, beside.ne[1]);
    return { keys: part(from), values: part(from + width) };
  }

  /** Heads of queries or keys through their norm, where they have one. */
  private even(part: 'attn_q' | 'attn_k', y: Tensor): Tensor {
    const { ops, hyper, layer } = this.at;
    const weight = layer.norms[`${part}_norm` satisfies HeadNorm];
    return weight ? ops.mul(ops.rmsNorm(y, hyper.normEpsilon), weight) : y;
  }

  private get sizes() {
    return sizesAt(this.at.hyper, this.at.layer.index);
  }

  /** What is different in a layer that looks at the last tokens only. */
  private get local(): Hyperparameters['local'] {
    const { local } = this.at.hyper;
    return local?.layers[this.at.layer.index] ? local : undefined;
  }

  private get isRotated(): boolean {
    const { unrotated } = this.at.hyper.family.block;
    return unrotated === undefined || (this.at.layer.index + 1) % unrotated !== 0;
  }
}
