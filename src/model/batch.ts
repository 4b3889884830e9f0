import { sharedLength } from '../base/format.js';
import type { Graph } from '../engine/graph.js';
import type { Tensor } from '../engine/tensor.js';
import type { LayerGraph } from './block.js';
import type { Attending, BatchInputs, Brought, Carried, Positions } from './mixing/mixing.js';

/** Sequences that are computed together, padded at their ends to one length. */
export interface Batch {
  /** Indices into the caller's list of sequences, in the order they lie in the batch. */
  readonly members: readonly number[];
  /** Tokens a sequence, padding included. */
  readonly length: number;
  /** Tokens of each member without padding. */
  readonly lengths: readonly number[];
}

/** Tokens computed at once: enough to keep the matrix products busy, few enough to stay in the caches and bound memory. */
const defaultBatchTokens = 512;
/** A member may be shorter than the batch's length by this share: beyond it padding costs more than a second batch. */
const maxPadding = 0.15;

/**
 * Groups sequences of similar length. Attention never mixes sequences and padding lies after every real token, so under the causal
 * mask the grouping changes no result.
 */
export function groupSequences(lengths: readonly number[], tokens = defaultBatchTokens): Batch[] {
  const order = lengths.map((_, i) => i).sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  const batches: Batch[] = [];
  let members: number[] = [];
  const close = () => {
    if (members.length === 0) return;
    const length = lengths[members[0]!]!;
    batches.push({ members, length, lengths: members.map((i) => lengths[i]!) });
    members = [];
  };
  for (const i of order) {
    const longest = members.length > 0 ? lengths[members[0]!]! : lengths[i]!;
    const full = (members.length + 1) * longest > tokens && members.length > 0;
    if (full || lengths[i]! < (1 - maxPadding) * longest) close();
    members.push(i);
  }
  close();
  return batches;
}

/** Tokens that are computed of a batch, padding included, and of an opening behind it. */
export function batchTokens({ length, members }: Pick<Batch, 'length' | 'members'>, opening = 0): number {
  return length * members.length + opening;
}

/** Index of token `position` of the batch's member `row` in a padded tensor [.., N]. */
export function tokenIndex(batch: Batch, row: number, position: number): number {
  return row * batch.length + position;
}

/** The members' tokens, padded with token 0, whose results nobody reads; behind them those of the opening, which sequences lack. */
export function paddedTokens(
  batch: Batch,
  tokensOf: (member: number) => ArrayLike<number>,
  opening: ArrayLike<number> = [],
): Int32Array {
  const out = new Int32Array(batchTokens(batch, opening.length));
  batch.members.forEach((member, row) => {
    out.set(Array.from(tokensOf(member)).slice(0, batch.lengths[row]), row * batch.length);
  });
  out.set(opening, out.length - opening.length);
  return out;
}

const HALF_MINUS_INFINITY = 0xfc00;

/**
 * f16 mask [prefix + N, N] of `sequences` sequences of `length` tokens laid out one after the other, N tokens together: each query
 * sees the whole prefix, and in its own sequence itself and what is before it; of all that the last `window` tokens only, itself
 * included.
 */
export function causalMask(length: number, sequences = 1, prefix = 0, window = Number.POSITIVE_INFINITY): Uint16Array {
  const own = length * sequences;
  const keys = prefix + own;
  const mask = new Uint16Array(keys * own);
  for (let query = 0; query < own; query++) {
    const row = query * keys;
    const start = query - (query % length);
    mask.fill(HALF_MINUS_INFINITY, row + prefix, row + prefix + start);
    mask.fill(HALF_MINUS_INFINITY, row + prefix + query + 1, row + keys);
    // Position of the first token seen, in prefix and sequence together.
    const first = prefix + (query - start) + 1 - window;
    if (first > 0) mask.fill(HALF_MINUS_INFINITY, row, row + Math.min(first, prefix));
    if (first > prefix) mask.fill(HALF_MINUS_INFINITY, row + prefix + start, row + start + first);
  }
  return mask;
}

/** The masks of a graph, each made when it is first asked for: with a window that hides nothing it is the one without. */
export function lazyMask(graph: Graph, length: number, sequences: number, prefix: number): BatchInputs['mask'] {
  const made = new Map<number, Tensor>();
  return (window = Number.POSITIVE_INFINITY) => {
    const seen = window >= prefix + length ? Number.POSITIVE_INFINITY : window;
    const own = sequences * length;
    const known =
      made.get(seen) ?? graph.input('f16', [prefix + own, own], causalMask(length, sequences, prefix, seen));
    made.set(seen, known);
    return known;
  };
}

/** Declares positions and mask of a batch's padded tokens (i32 [N]) as graph inputs. `prefix` holds keys and values that lie at positions 0 to prefix - 1. */
export function batchInputs(
  graph: Graph,
  batch: Batch,
  tokens: Tensor,
  ropeFactors: Tensor | null,
  prefix?: Carried,
): BatchInputs {
  const { length } = batch;
  const sequences = batch.members.length;
  const before = prefix?.keys.ne[1] ?? 0;
  // With a prefix all sequences attend as one, see `attend`; otherwise each for itself, with the same mask.
  const attending = prefix ? sequences : 1;
  const positions = new Int32Array(length * sequences).map((_, i) => before + (i % length));
  return {
    tokens,
    length,
    sequences,
    positions: graph.input('i32', [positions.length], positions),
    mask: lazyMask(graph, length, attending, before),
    ropeFactors,
    halfKeys: graph.workspace.engine.kernels === 'reference',
    prefix,
  };
}

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
 * tokens lie behind them (`tokens`: all of them, i32).
 */
export function streamInputs(
  g: Graph,
  batch: Batch,
  tokens: Tensor,
  opening: number,
  ropeFactors: Tensor | null,
): StreamInputs {
  const { length, members } = batch;
  const own = batchTokens(batch);
  const positions = new Int32Array(own + opening).map((_, i) => (i < own ? opening + (i % length) : i - own));
  const of = (length: number, sequences: number, before: number): Attending => ({
    length,
    sequences,
    mask: lazyMask(g, length, 1, before),
    halfKeys: g.workspace.engine.kernels === 'reference',
  });
  return {
    tokens,
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
export function sharedAttention(layer: LayerGraph, x: Tensor, inputs: StreamInputs, ownOnly = false): Tensor {
  const { ops } = layer;
  const { opening, own } = inputs;
  const count = own.length * own.sequences;
  const brought = layer.bring(x, inputs);
  if (!opening) return layer.mix(brought, own).context;
  const part = (t: Tensor, from: number, tokens: number) => {
    const [dim, n, all] = t.ne;
    return ops.reshape(ops.rowsOf(ops.reshape(t, dim * n, all), from, tokens), dim, n, tokens);
  };
  const of = (from: number, tokens: number): Brought =>
    Object.fromEntries(Object.entries(brought).map(([name, t]) => [name, part(t, from, tokens)]));
  const first = layer.mix(of(count, opening.length), opening);
  const later = layer.mix(of(0, count), { ...own, prefix: { ...first.carried(), each: true } });
  return ownOnly ? later.context : ops.concat(later.context, first.context, 1);
}

/**
 * The transformer block on the sequences and what they all begin with, x [embedding, N + opening]: everything but attention is one
 * product for both. With `rows` only those tokens of the sequences come out: after the last layer nothing else is needed.
 */
export function sharedBlock(layer: LayerGraph, x: Tensor, inputs: StreamInputs, rows?: Tensor): Tensor {
  return layer.rest(x, sharedAttention(layer, x, inputs, rows !== undefined), inputs.tokens, rows);
}
