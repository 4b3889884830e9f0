import type { Operations } from '../../engine/operations.js';
import type { Tensor } from '../../engine/tensor.js';
import type { LayerLinear } from '../../families/family.js';
import type { BlockWeights } from '../block.js';
import type { Hyperparameters } from '../hyperparameters.js';

/** What the ways of mixing tokens have in common: attention, a short convolution, a gated delta net. */

/** What a block needs to know of the batch it runs on; N = length · sequences tokens, sequence after sequence. */
export interface BatchInputs {
  /** i32 [N]: the tokens themselves, of which layers may have embeddings of their own. */
  tokens: Tensor;
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
   * What every sequence has before its own tokens. With `each` every sequence gets a copy and attends for itself, which suits a short
   * prefix; then the mask is [prefix + length, length].
   */
  prefix?: Carried & { each?: boolean };
}

/** Which tokens there are, and where they stand. */
export type Positions = Pick<BatchInputs, 'tokens' | 'positions' | 'ropeFactors'>;
/** Which tokens see which. */
export type Attending = Omit<BatchInputs, keyof Positions>;

/** What a layer makes of each token by itself before it mixes them, by name, each [.., .., tokens]. */
export type Brought = Readonly<Record<string, Tensor>>;

/**
 * What tokens that follow need of those before them, f32: keys and values [width of a head, tokens, heads], of which a convolution has one
 * and the same. A delta net has a state instead, which does not grow: the last columns that its convolution was over,
 * [width, tokens - 1, 1], and what its heads hold, [headDim, headDim, heads].
 */
export interface Carried {
  keys: Tensor;
  values: Tensor;
}

export interface Mixed {
  /** Input of the linear that writes to the residual stream, [.., N]. */
  context: Tensor;
  /** Of a batch of one sequence. */
  carried: () => Carried;
}

/** How a layer mixes tokens. */
export interface Mixing {
  /**
   * @param input the residual stream, normed: [embedding, N]
   * @param beside keys and values that earlier layers have left beside the stream
   */
  bring(input: Tensor, positions: Positions, beside: () => Tensor): Brought;
  /** Each sequence by itself, behind its prefix or nothing. */
  mix(brought: Brought, batch: Attending): Mixed;
}

/** The layer whose tokens are mixed. */
export interface Within {
  readonly ops: Operations;
  readonly hyper: Hyperparameters;
  readonly layer: BlockWeights;
  /** y = W·x with what corrects it. */
  project(part: LayerLinear, x: Tensor): Tensor;
}
