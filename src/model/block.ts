import type { Operations } from '../engine/operations.js';
import type { Linear } from '../engine/placement.js';
import type { Tensor } from '../engine/tensor.js';
import {
  kindOf,
  type Layered,
  type LayerLinear,
  type LayerNorm,
  linearRowsAt,
  linearsAt,
  mixerAt,
  normRowsAt,
  postNormOf,
  sizesAt,
  type Writer,
} from '../families/family.js';
import type { Hyperparameters } from './hyperparameters.js';
import { Attention } from './mixing/attention.js';
import { type Kernel, loadKernel, ShortConvolution } from './mixing/convolution.js';
import { type DeltaKernel, GatedDeltaNet, loadDeltaKernel } from './mixing/deltaNet.js';
import type { Attending, BatchInputs, Brought, Mixed, Mixing, Positions } from './mixing/mixing.js';
import type { OwnEmbeddings } from './perLayer.js';
import type { Weights } from './weights.js';

/** The transformer block as graph operations: one place where every family's forward pass is written down. */

/** What the block needs of a layer. */
export interface BlockWeights extends Pick<Layer, 'index' | 'norms' | 'biases' | 'kernel' | 'own'> {
  readonly linears: Readonly<Partial<Record<LayerLinear, Product>>>;
}

/** x [inputs, n] -> W·x [outputs, n]. */
export type Product = Pick<Linear, 'apply'>;

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

/**
 * One layer in a graph, with the correction it wears. Residual streams x are [embedding, tokens]; where layers attend to keys and values
 * of earlier ones, these go with the stream, [streamWidth, tokens].
 */
export class LayerGraph {
  constructor(
    readonly ops: Operations,
    readonly hyper: Hyperparameters,
    readonly layer: BlockWeights,
    private readonly lora: LayerLora = {},
  ) {}

  /** The whole block: residual stream in, residual stream out. With `rows` only those tokens come out, see `rest`. */
  run(x: Tensor, batch: BatchInputs, rows?: Tensor): Tensor {
    return this.rest(x, this.attend(x, batch).context, batch.tokens, rows);
  }

  /** The tokens mixed, up to and without the linear that writes them to the stream. */
  attend(x: Tensor, batch: BatchInputs): Mixed {
    return this.mix(this.bring(x, batch), batch);
  }

  /** What a residual stream that enters the layer comes to before its tokens are mixed. */
  bring(x: Tensor, batch: Positions): Brought {
    return this.mixing.bring(this.normed(this.stream(x), this.layer.norms.attn_norm), batch, () => this.beside(x));
  }

  /** The residual stream without what goes beside it. */
  stream(x: Tensor): Tensor {
    const { ops } = this;
    const { embedding } = this.hyper;
    return x.ne[0] === embedding ? x : ops.once(x, 'stream', () => ops.cont(ops.slice(x, 0, 0, embedding)));
  }

  /** What goes beside the stream. */
  private beside(x: Tensor): Tensor {
    const { ops } = this;
    const { embedding } = this.hyper;
    return ops.once(x, 'beside', () => ops.slice(x, 0, embedding, x.ne[0] - embedding));
  }

  /** A new stream, with what goes beside x. */
  private withBeside(stream: Tensor, x: Tensor): Tensor {
    return stream.ne[0] === x.ne[0] ? stream : this.ops.concat(stream, this.beside(x), 0);
  }

  /** The same, with keys and values of this layer, which x enters, if others attend to them. */
  private withOwnKeys(stream: Tensor, x: Tensor): Tensor {
    const { ops, hyper, layer } = this;
    const left = hyper.left?.find((one) => one.layer === layer.index);
    if (!left) return this.withBeside(stream, x);
    const { keys, values } = new Attention(this).own(this.normed(this.stream(x), layer.norms.attn_norm));
    const own = [keys, values].map((y) => ops.reshape(y, left.width, x.ne[1]));
    const before = left.from > 0 ? [ops.slice(this.beside(x), 0, 0, left.from)] : [];
    const joined = [stream, ...before, ...own].reduce((all, part) => ops.concat(all, part, 0));
    const behind = x.ne[0] - joined.ne[0];
    return behind > 0 ? ops.padColumns(joined, behind) : joined;
  }

  mix(brought: Brought, batch: Attending): Mixed {
    return this.mixing.mix(brought, batch);
  }

  private get mixing(): Mixing {
    const { kernel } = this.layer;
    if (!kernel) return new Attention(this);
    return 'rate' in kernel ? new GatedDeltaNet(this, kernel) : new ShortConvolution(this, kernel);
  }

  /**
   * What follows attention, given its context: residual stream out. With `rows` (i32) only those tokens come out, without what goes
   * beside the stream, and it is computed for them alone: after the last layer nothing else is needed.
   */
  rest(x: Tensor, context: Tensor, tokens: Tensor, rows?: Tensor): Tensor {
    if (rows) {
      const { ops, hyper, layer, lora } = this;
      const some = new LayerGraph(ops, hyper, layer, onRows(ops, lora, rows));
      const ids = layer.own ? ops.reshape(ops.getRows(ops.reshape(tokens, 1, tokens.ne[0]), rows), rows.ne[0]) : tokens;
      return some.rest(ops.getRows(this.stream(x), rows), ops.getRows(context, rows), ids);
    }
    const middle = this.afterAttention(x, context);
    return this.leave(this.afterFeedForward(middle, this.feedForward(middle)), tokens);
  }

  /** Residual stream after attention: x + attn_output(context). */
  afterAttention(x: Tensor, context: Tensor): Tensor {
    const mixer = mixerAt(this.hyper, this.layer.index);
    return this.withOwnKeys(this.ops.add(this.written(mixer, this.project(mixer, context)), this.stream(x)), x);
  }

  /** Input of `ffn_down`, [feedForward, tokens], for a residual stream after attention. */
  feedForward(x: Tensor): Tensor {
    const { ops, layer } = this;
    const { feedForward, family } = sizesAt(this.hyper, layer.index);
    const input = this.normed(this.stream(x), layer.norms.ffn_norm);
    const both = layer.linears.ffn_gate ? undefined : this.project('ffn_up', input);
    const gate = both ? ops.slice(both, 0, 0, feedForward) : this.project('ffn_gate', input);
    const up = both ? ops.slice(both, 0, feedForward, feedForward) : this.project('ffn_up', input);
    return family.block.activation === 'geglu' ? ops.geglu(gate, up) : ops.swiglu(gate, up);
  }

  /** Residual stream after the feed-forward part: x + ffn_down(inner). */
  afterFeedForward(x: Tensor, inner: Tensor): Tensor {
    return this.withBeside(this.ops.add(this.written('ffn_down', this.project('ffn_down', inner)), this.stream(x)), x);
  }

  /** Residual stream after the block: x, or s·(x + proj(gelu(inp_gate(x)) ⊙ e)) with the layer's own embeddings e and its factor s. */
  leave(x: Tensor, tokens: Tensor): Tensor {
    const { ops, layer } = this;
    const scale = layer.norms.layer_output_scale;
    if (!layer.own && !scale) return x;
    let stream = this.stream(x);
    if (layer.own) {
      const inner = ops.geglu(this.project('inp_gate', stream), layer.own(ops, tokens));
      stream = ops.add(this.written('proj', this.project('proj', inner)), stream);
    }
    return this.withBeside(scale ? ops.mul(stream, scale) : stream, x);
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
  written(part: Writer, outputs: Tensor): Tensor {
    const { ops } = this;
    const { normEpsilon, residualScale } = this.hyper;
    const weight = this.layer.norms[postNormOf(part)];
    const normed = weight ? ops.mul(ops.rmsNorm(outputs, normEpsilon), weight) : outputs;
    return residualScale === 1 ? normed : ops.scale(normed, residualScale);
  }

  private normed(x: Tensor, weight: Tensor | undefined): Tensor {
    const { ops } = this;
    if (!weight) return x;
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
/** Weights of a layer's norms, f32: [headDim] for those of heads, else [embedding]; and the factor of what leaves it, [1]. */
type LayerNorms = Readonly<Partial<Record<LayerNorm, Tensor>>>;

/** The frozen weights of one transformer block, placed for computing. */
export class Layer implements Disposable {
  private constructor(
    readonly index: number,
    readonly linears: Linears,
    readonly norms: LayerNorms,
    readonly biases: Readonly<Partial<Record<LayerLinear, Tensor>>>,
    /** Of a layer with a convolution, by itself or in a delta net. */
    readonly kernel: Kernel | DeltaKernel | undefined,
    readonly own: OwnEmbeddings | undefined,
    private readonly owned: Disposable[],
    /** Lets the pages of its weights in the model's file leave memory until they are used again. */
    readonly release: () => void,
  ) {}

  static async load(
    weights: Weights,
    of: Layered,
    index: number,
    own: OwnEmbeddings | undefined,
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
      for (const { name: part, bias } of linearRowsAt(of, index)) {
        const linear = await place(name(part));
        owned.push(linear);
        linears[part] = linear;
        if (bias && weights.has(name(part, 'bias'))) biases[part] = await plain(name(part, 'bias'));
      }
      const norms: Partial<Record<LayerNorm, Tensor>> = {};
      for (const { name: norm, stored = norm, optional } of normRowsAt(of, index)) {
        if (!optional || weights.has(name(stored))) norms[norm] = await plain(name(stored));
      }
      let kernel: Kernel | DeltaKernel | undefined;
      const kind = kindOf(of, index);
      if (kind === 'convolution') {
        const loaded = await loadKernel(weights, name('shortconv.conv'));
        owned.push(loaded.buffer);
        kernel = loaded.kernel;
      } else if (kind === 'delta') {
        const loaded = await loadDeltaKernel(weights, index);
        owned.push(...loaded.buffers);
        kernel = loaded.kernel;
      }
      const names = linearsAt(of, index).map((part) => name(part));
      return new Layer(index, linears, norms, biases, kernel, own, owned, () => weights.release(names));
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
