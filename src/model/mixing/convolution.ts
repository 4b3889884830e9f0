import type { Operations } from '../../engine/operations.js';
import type { Tensor } from '../../engine/tensor.js';
import type { Weights } from '../weights.js';
import type { Attending, Brought, Mixed, Mixing, Within } from './mixing.js';

/** A short convolution: f32 [width] for each token that it is over, the oldest first; zeros [width, tokens - 1]. */
export interface Kernel {
  columns: readonly Tensor[];
  zeros: Tensor;
}

/** Loads a kernel, which the file has as [tokens, width]. */
export async function loadKernel(weights: Weights, name: string): Promise<{ kernel: Kernel; buffer: Disposable }> {
  const { tensor, buffer: file } = await weights.plain(name);
  using _ = file;
  const [taps, width] = tensor.ne;
  const values = tensor.toFloat32();
  const buffer = weights.engine.buffer(taps + 1);
  const columns = Array.from({ length: taps }, () => buffer.tensor('f32', [width]));
  const zeros = buffer.tensor('f32', [width, taps - 1]);
  buffer.allocate({ zero: true });
  for (const [j, column] of columns.entries()) {
    column.write(Float32Array.from({ length: width }, (_, i) => values[i * taps + j]!));
  }
  return { kernel: { columns, zeros }, buffer };
}

/**
 * Σ_j k_j ⊙ x[t - j] of each sequence by itself, behind the last columns of its prefix or zeros.
 * @param x [width, .., N]; `before` [width, tokens, 1] @returns [width, length, sequences], and what it was taken over
 */
export function convolve(
  ops: Operations,
  { columns, zeros }: Kernel,
  x: Tensor,
  { length: T, sequences: B }: Pick<Attending, 'length' | 'sequences'>,
  before: Tensor | undefined,
): { sum: Tensor; all: Tensor } {
  const width = x.ne[0];
  const most = zeros.ne[1];
  const known = Math.min(most, before?.ne[1] ?? 0);
  const last = before && known > 0 ? ops.slice(before, 1, before.ne[1] - known, known) : undefined;
  const missing = known < most ? ops.slice(zeros, 1, 0, most - known) : undefined;
  const state = missing && last ? ops.concat(missing, last, 1) : (missing ?? last!);
  const own = ops.reshape(x, width, T, B);
  const all = ops.concat(B > 1 ? ops.repeatTo(state, 1, 1, B, 1) : state, own, 1);
  const terms = columns.map((column, j) => ops.mul(ops.slice(all, 1, j, T), column));
  return { sum: terms.reduce((total, term) => ops.add(total, term)), all };
}

/** The short convolution of LFM2 between its gates (`Convolution` in families/family.ts). */
export class ShortConvolution implements Mixing {
  constructor(
    private readonly at: Within,
    private readonly kernel: Kernel,
  ) {}

  bring(input: Tensor): Brought {
    const { ops } = this.at;
    const [width, tokens] = input.ne;
    const all = this.at.project('shortconv.in_proj', input);
    const part = (i: number) => ops.cont(ops.slice(all, 0, i * width, width));
    const keys = ops.reshape(ops.mul(part(0), part(2)), width, 1, tokens);
    return { queries: ops.reshape(part(1), width, 1, tokens), keys };
  }

  mix(brought: Brought, batch: Attending): Mixed {
    const { ops } = this.at;
    const { queries, keys } = brought as Record<'queries' | 'keys', Tensor>;
    const width = keys.ne[0];
    const tokens = batch.length * batch.sequences;
    const { sum } = convolve(ops, this.kernel, keys, batch, batch.prefix?.keys);
    const context = ops.mul(ops.reshape(sum, width, tokens), ops.reshape(queries, width, tokens));
    const carried = () => {
      const over = ops.permute(keys, 0, 2, 1, 3);
      return { keys: over, values: over };
    };
    return { context, carried };
  }
}
