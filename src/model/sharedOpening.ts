import type { Graph } from '../ggml/graph.js';
import type { Operations } from '../ggml/operations.js';
import type { Tensor } from '../ggml/tensor.js';
import { sharedLength } from '../util/sharedLength.js';
import { type Batch, lazyMask } from './batch.js';
import {
  type Attending,
  attention,
  type BlockWeights,
  headsOf,
  type LayerLora,
  type Positions,
  rest,
} from './block.js';
import type { Hyperparameters } from './hyperparameters.js';

/** Below so many tokens attention in two parts costs more than it saves. */
const worthwhile = 8;

/**
 * Tokens that all sequences begin with (the chat template's system message): their activations are the same in all of them, so they
 * are computed once a batch. Ends before the first position that predicts a target; 0 where it is too short to be worth it.
 */
export function sharedOpening(sequences: readonly { tokens: Int32Array; targets: Int32Array }[]): number {
  const [first] = sequences;
  if (!first || sequences.length < 2) return 0;
  let shared = first.tokens.length;
  for (const { tokens, targets } of sequences) {
    const end = Math.min(shared, tokens.length - 1, (targets[0] ?? tokens.length) - 1);
    shared = Math.min(end, sharedLength(tokens, first.tokens));
  }
  return shared >= worthwhile ? shared : 0;
}

/** Positions and masks of a batch whose sequences share an opening. */
export interface StreamInputs extends Positions {
  /** How the opening attends to itself. */
  opening?: Attending;
  /** How the sequences attend to themselves; to the opening besides. */
  own: Attending;
}

/**
 * Declares what attention needs. The batch's lengths are those of the sequences without the opening, N tokens in all; the opening's
 * tokens lie behind them.
 */
export function streamInputs(g: Graph, batch: Batch, opening: number, ropeFactors: Tensor | null): StreamInputs {
  const { length, members } = batch;
  const own = length * members.length;
  const positions = new Int32Array(own + opening).map((_, i) => (i < own ? opening + (i % length) : i - own));
  const of = (length: number, sequences: number, before: number): Attending => ({
    length,
    sequences,
    mask: lazyMask(g, length, 1, before),
    halfKeys: g.workspace.engine.kernels === 'reference',
  });
  return {
    positions: g.input('i32', [positions.length], positions),
    ropeFactors,
    opening: opening > 0 ? of(opening, 1, 0) : undefined,
    own: of(length, members.length, opening),
  };
}

/**
 * Self-attention up to, and without, the output projection, of the sequences and what they all begin with, x
 * [embedding, N + opening]: the sequences attend to the opening's keys and values. With `ownOnly` the opening's context, which is the
 * last of it, is left out.
 */
export function sharedAttention(
  ops: Operations,
  h: Hyperparameters,
  layer: BlockWeights,
  x: Tensor,
  inputs: StreamInputs,
  lora?: LayerLora,
  ownOnly = false,
): Tensor {
  const { opening, own } = inputs;
  const count = own.length * own.sequences;
  const heads = headsOf(ops, h, layer, x, inputs, lora);
  if (!opening) return attention(ops, h, layer, heads, own);
  const split = (t: Tensor) => {
    const [dim, n, all] = t.ne;
    const flat = ops.reshape(t, dim * n, all);
    const part = (from: number, tokens: number) => ops.reshape(ops.rowsOf(flat, from, tokens), dim, n, tokens);
    return { own: part(0, count), first: part(count, opening.length) };
  };
  const [queries, keys, values] = [split(heads.queries), split(heads.keys), split(heads.values)];
  const byHead = (t: Tensor) => ops.permute(t, 0, 2, 1, 3);
  const prefix = { keys: byHead(keys.first), values: byHead(values.first), each: true };
  const later = { queries: queries.own, keys: keys.own, values: values.own };
  const context = attention(ops, h, layer, later, { ...own, prefix });
  if (ownOnly) return context;
  const first = { queries: queries.first, keys: keys.first, values: values.first };
  return ops.concat(context, attention(ops, h, layer, first, opening), 1);
}

/**
 * The transformer block on the sequences and what they all begin with, x [embedding, N + opening]: everything but attention is one
 * product for both. With `rows` only those tokens of the sequences come out: after the last layer nothing else is needed.
 */
export function sharedBlock(
  ops: Operations,
  h: Hyperparameters,
  layer: BlockWeights,
  x: Tensor,
  inputs: StreamInputs,
  lora?: LayerLora,
  rows?: Tensor,
): Tensor {
  const context = sharedAttention(ops, h, layer, x, inputs, lora, rows !== undefined);
  return rest(ops, h, layer, x, context, lora, rows);
}
