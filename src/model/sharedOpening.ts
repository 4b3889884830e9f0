import type { Graph } from '../ggml/graph.js';
import type { Operations } from '../ggml/operations.js';
import type { Tensor } from '../ggml/tensor.js';
import { sharedLength } from '../util/sharedLength.js';
import { type Batch, lazyMask } from './batch.js';
import {
  afterAttention,
  afterFeedForward,
  attend,
  type BatchInputs,
  type BlockWeights,
  feedForward,
  type LayerLora,
} from './block.js';
import type { Hyperparameters } from './hyperparameters.js';

/** Below so many tokens the second stream costs more than it saves. */
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

/** Residual streams of a batch: the shared opening's [embedding, opening], and what follows it in each sequence [embedding, N]. */
export interface Streams {
  opening?: Tensor;
  own: Tensor;
}

/** Positions and masks of both streams. */
export interface StreamInputs {
  opening?: BatchInputs;
  own: BatchInputs;
}

/** Declares what attention needs. The batch's lengths are those of the sequences without the opening. */
export function streamInputs(g: Graph, batch: Batch, opening: number, ropeFactors: Tensor | null): StreamInputs {
  const of = (length: number, sequences: number, before: number): BatchInputs => {
    const positions = new Int32Array(length * sequences).map((_, i) => before + (i % length));
    return {
      length,
      sequences,
      positions: g.input('i32', [positions.length], positions),
      mask: lazyMask(g, length, 1, before),
      ropeFactors,
      halfKeys: g.workspace.engine.kernels === 'reference',
    };
  };
  return {
    opening: opening > 0 ? of(opening, 1, 0) : undefined,
    own: of(batch.length, batch.members.length, opening),
  };
}

/** LoRA of both streams: they differ in the masks of dropout only. */
export interface StreamLora {
  opening?: LayerLora;
  own?: LayerLora;
}

/**
 * The transformer block on both streams; the sequences attend to the opening's keys and values. With `rows` only those tokens of the
 * sequences come out, and nothing of the opening: after the last layer nothing else is needed.
 */
export function streamsBlock(
  ops: Operations,
  h: Hyperparameters,
  layer: BlockWeights,
  x: Streams,
  inputs: StreamInputs,
  lora: StreamLora = {},
  rows?: Tensor,
): Streams {
  // Masks of dropout have a column for every token; what comes after attention is computed for some of them.
  const someOf = (low?: LayerLora): LayerLora | undefined =>
    rows &&
    low &&
    (Object.fromEntries(
      Object.entries(low).map(([part, { mask, ...factors }]) => [
        part,
        mask ? { ...factors, mask: ops.once(mask, 'rows', () => ops.getRows(mask, rows)) } : factors,
      ]),
    ) as LayerLora);
  const rest = (stream: Tensor, context: Tensor, low?: LayerLora) => {
    const middle = afterAttention(ops, h, layer, stream, context, low);
    return afterFeedForward(ops, h, layer, middle, feedForward(ops, h, layer, middle, low), low);
  };
  let opening: Tensor | undefined;
  let own = inputs.own;
  if (x.opening && inputs.opening) {
    const { context, keys, values } = attend(ops, h, layer, x.opening, inputs.opening, lora.opening);
    if (!rows) opening = rest(x.opening, context, lora.opening);
    const byHead = (t: Tensor) =>
      ops.permute(ops.reshape(t, h.headDim, h.kvHeads, t.elements / (h.headDim * h.kvHeads)), 0, 2, 1, 3);
    own = { ...own, prefix: { keys: byHead(keys), values: byHead(values), each: true } };
  }
  const { context } = attend(ops, h, layer, x.own, own, lora.own);
  const of = (t: Tensor) => (rows ? ops.getRows(t, rows) : t);
  return { opening, own: rest(of(x.own), of(context), someOf(lora.own) ?? lora.own) };
}
