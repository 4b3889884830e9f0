import type { Operations } from '../../engine/operations.js';
import type { Tensor } from '../../engine/tensor.js';

/**
 * The gated delta rule in chunks (Yang et al. 2024, section 3.3), out of operations that have gradients. With γ_i the product of the
 * chunk's decays e^g up to token i, rows of Q, K, V its tokens, and what a token writes under its key δ_i = β_i·(v_i - e^{g_i}·S_{i-1}ᵀ·k_i),
 *
 *     (I + A)·Δ = β ⊙ V - (βγ ⊙ K)·S,     A_ij = β_i·γ_i/γ_j·k_i·k_j for j < i,
 *     O = (γ ⊙ Q·S + P·Δ)/√d,             P_ij = γ_i/γ_j·q_i·k_j for j ≤ i,
 *     S' = γ_last·S + (γ_last/γ ⊙ K)ᵀ·Δ.
 *
 * A chunk's tokens are products of matrices, and one state a chunk is kept instead of one a token.
 */

/** Tokens of a chunk, at most: the longer, the fewer states, and the larger matrices between tokens. */
export const chunkTokens = 64;

/** What `Operations.gatedDelta` takes, in its shapes. */
export interface DeltaInputs {
  queries: Tensor;
  keys: Tensor;
  values: Tensor;
  decays: Tensor;
  shares: Tensor;
  states: Tensor;
}

/** @returns what is put out, [d, tokens, heads, sequences], and the states after the last token, [d, d, heads, sequences] */
export function deltaInChunks(ops: Operations, of: DeltaInputs): { out: Tensor; states: Tensor } {
  const [d, heads, tokens, sequences] = of.values.ne;
  const count = Math.ceil(tokens / chunkTokens);
  const C = Math.ceil(tokens / count);
  const all = heads * sequences;
  // [n, heads or key heads, tokens, sequences] -> [n, C, chunks, heads·sequences]; tokens behind the last one write nothing.
  const inChunks = (t: Tensor) => {
    const n = t.ne[0];
    const each = t.ne[1] === heads ? t : ops.repeatTo(t, 1, heads / t.ne[1], 1, 1);
    const byHead = ops.cont(ops.permute(each, 0, 2, 1, 3));
    const missing = C * count - tokens;
    return ops.reshape(missing > 0 ? ops.padRows(byHead, missing) : byHead, n, C, count, all);
  };
  const turned = (t: Tensor) => ops.cont(ops.transpose(t));
  const [q, k, v] = [inChunks(of.queries), inChunks(of.keys), inChunks(of.values)];
  const [g, beta] = [inChunks(of.decays), inChunks(of.shares)];

  // Decays of tokens l up to i in [l, i]; summed over those that are later than j as well they are the decay from j to i.
  const upTo = turned(ops.triangle(ops.repeatTo(g, C, 1, 1, 1), 'upper'));
  const between = ops.mulMat(ops.triangle(ops.fill(upTo, 1), 'strictlyUpper'), upTo); // [j, i]
  const decay = ops.exp(between); // γ_i/γ_j where j ≤ i, else 1
  const fromStart = ops.exp(ops.sumRows(upTo)); // [1, i]
  const toEnd = ops.reshape(ops.cont(ops.slice(decay, 1, C - 1, 1)), 1, C, count, all);

  const [kShare, vShare] = [ops.mul(k, beta), ops.mul(v, beta)];
  const a = ops.triangle(ops.mul(ops.mulMat(k, kShare), decay), 'strictlyLower');
  const solved = ops.inverseLower(ops.add(a, ops.identity(a)));
  const fresh = ops.mulMat(turned(vShare), solved); // [d, C]: Δ of an empty state
  const taken = ops.mulMat(turned(ops.mul(kShare, fromStart)), solved);
  const seen = ops.triangle(ops.mul(ops.mulMat(k, q), decay), 'lower');
  const asked = ops.mul(q, fromStart);
  const written = turned(ops.mul(k, toEnd)); // [C, d]

  // One chunk after the other: [n, rows, heads·sequences] of each.
  const rowsOf = (t: Tensor) => {
    const [n, rows] = t.ne;
    const flat = ops.reshape(t, n, rows * count, all);
    return (i: number) => ops.slice(flat, 1, i * rows, rows);
  };
  const at = { fresh: rowsOf(fresh), taken: rowsOf(taken), seen: rowsOf(seen), asked: rowsOf(asked) };
  const writtenAt = rowsOf(written);
  const wholeDecay = rowsOf(ops.reshape(ops.cont(ops.slice(fromStart, 1, C - 1, 1)), 1, 1, count, all));
  let state = ops.reshape(of.states, d, d, all);
  let out: Tensor | undefined;
  for (let i = 0; i < count; i++) {
    const delta = turned(ops.sub(at.fresh(i), ops.mulMat(state, at.taken(i)))); // [C, d]
    const own = ops.add(ops.mulMat(state, at.asked(i)), ops.mulMat(delta, at.seen(i))); // [d, C]
    out = out ? ops.concat(out, own, 1) : own;
    const kept = ops.mul(ops.reshape(state, d * d, 1, all), wholeDecay(i));
    state = ops.add(ops.reshape(kept, d, d, all), ops.mulMat(writtenAt(i), delta));
  }
  const scaled = ops.scale(out!, 1 / Math.sqrt(d));
  const real = C * count > tokens ? ops.slice(scaled, 1, 0, tokens) : scaled;
  return {
    out: ops.reshape(ops.cont(real), d, tokens, heads, sequences),
    states: ops.reshape(state, d, d, heads, sequences),
  };
}
