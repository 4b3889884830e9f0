import type { Tensor } from '../../engine/tensor.js';
import type { DeltaSizes } from '../../families/family.js';
import type { Weights } from '../weights.js';
import { convolve, type Kernel, loadKernel } from './convolution.js';
import type { Attending, Brought, Mixed, Mixing, Within } from './mixing.js';

/** What a delta net has beside linears and norms: its convolution; of each head the bias and the rate of its forgetting, f32 [heads]. */
export interface DeltaKernel extends Kernel {
  bias: Tensor;
  rate: Tensor;
}

export async function loadDeltaKernel(
  weights: Weights,
  index: number,
): Promise<{ kernel: DeltaKernel; buffers: Disposable[] }> {
  const buffers: Disposable[] = [];
  const plain = async (name: string) => {
    const { tensor, buffer } = await weights.plain(name);
    buffers.push(buffer);
    return tensor;
  };
  try {
    const { kernel, buffer } = await loadKernel(weights, `blk.${index}.ssm_conv1d.weight`);
    buffers.push(buffer);
    const [bias, rate] = [await plain(`blk.${index}.ssm_dt.bias`), await plain(`blk.${index}.ssm_a`)];
    return { kernel: { ...kernel, bias, rate }, buffers };
  } catch (error) {
    for (const buffer of buffers) buffer[Symbol.dispose]();
    throw error;
  }
}

/** The gated delta net of Qwen3.5 (`DeltaNet` in families/family.ts). */
export class GatedDeltaNet implements Mixing {
  private readonly sizes: DeltaSizes;

  constructor(
    private readonly at: Within,
    private readonly kernel: DeltaKernel,
  ) {
    this.sizes = at.hyper.delta!;
  }

  bring(input: Tensor): Brought {
    const { ops } = this.at;
    const { bias, rate } = this.kernel;
    const each = (y: Tensor) => ops.reshape(y, y.ne[0], 1, y.ne[1]);
    const steps = ops.add(this.at.project('ssm_alpha', input), bias);
    return {
      mixed: each(this.at.project('attn_qkv', input)),
      gates: each(this.at.project('attn_gate', input)),
      shares: each(ops.sigmoid(this.at.project('ssm_beta', input))),
      decays: each(ops.mul(ops.softplus(steps), rate)),
    };
  }

  mix(brought: Brought, batch: Attending): Mixed {
    const { ops, hyper, layer } = this.at;
    const { mixed, gates, shares, decays } = brought as Record<'mixed' | 'gates' | 'shares' | 'decays', Tensor>;
    const { length: T, sequences: B, prefix } = batch;
    const { keyHeads, valueHeads, headDim } = this.sizes;
    const { sum, all } = convolve(ops, this.kernel, mixed, batch, prefix?.keys);
    const read = ops.silu(sum);
    const part = (from: number, heads: number) =>
      ops.reshape(ops.cont(ops.slice(read, 0, from * headDim, heads * headDim)), headDim, heads, T, B);
    const perHead = (y: Tensor) => ops.reshape(y, 1, valueHeads, T, B);
    const packed = ops.gatedDelta(
      this.unit(part(0, keyHeads)),
      this.unit(part(keyHeads, keyHeads)),
      part(2 * keyHeads, valueHeads),
      perHead(decays),
      perHead(shares),
      this.state(prefix?.values, B),
    );
    const out = ops.reshape(ops.rowsOf(packed, 0, T * B), headDim, valueHeads, T * B);
    const normed = ops.mul(ops.rmsNorm(out, hyper.normEpsilon), layer.norms.ssm_norm!);
    const gated = ops.swiglu(ops.reshape(gates, headDim, valueHeads, T * B), normed);
    const before = this.kernel.zeros.ne[1];
    const carried = () => ({
      keys: ops.slice(all, 1, T, before),
      values: ops.reshape(ops.rowsOf(packed, T * B, headDim * B), headDim, headDim, valueHeads, B),
    });
    return { context: ops.reshape(gated, headDim * valueHeads, T * B), carried };
  }

  /** x/|x| of each head; llama.cpp holds |x| above ε, which here is added to its square. */
  private unit(x: Tensor): Tensor {
    const { ops, hyper } = this.at;
    const { headDim } = this.sizes;
    return ops.scale(ops.rmsNorm(x, hyper.normEpsilon ** 2 / headDim), 1 / Math.sqrt(headDim));
  }

  /** What the heads hold before the first token, [headDim, headDim, heads, sequences]. */
  private state(before: Tensor | undefined, sequences: number): Tensor {
    const { ops } = this.at;
    const { valueHeads, headDim } = this.sizes;
    if (!before) return ops.repeatTo(ops.view(this.kernel.zeros, [headDim, 1]), 1, headDim, valueHeads, sequences);
    return sequences > 1 ? ops.repeatTo(before, 1, 1, 1, sequences) : before;
  }
}
