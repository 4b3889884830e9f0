import type { Operations } from '../../engine/operations.js';
import type { Tensor } from '../../engine/tensor.js';
import { deltaInChunks } from './deltaRule.js';

/**
 * The gradient of every operation that may stand between a trained factor and the loss: one table, each rule a few lines of ordinary
 * graph. Shapes in ggml's order, ne0 first. Every rule is held against finite differences in gradientRules.test.ts.
 */

/** Operations that a tape records; it joins the gradients of `slice` itself. Those without a rule throw when a gradient would have to pass them. */
export const primitives = [
  'add',
  'addInplace',
  'sub',
  'mul',
  'div',
  'sqr',
  'sqrt',
  'log',
  'exp',
  'tanh',
  'silu',
  'sigmoid',
  'softplus',
  'scale',
  'sum',
  'sumRows',
  'argmax',
  'rmsNorm',
  'mulMat',
  'outProd',
  'copy',
  'cont',
  'cast',
  'reshape',
  'view',
  'slice',
  'permute',
  'transpose',
  'concat',
  'repeat',
  'repeatTo',
  'padRows',
  'padColumns',
  'getRows',
  'softMax',
  'rope',
  'swiglu',
  'geglu',
  'triangle',
  'fill',
  'identity',
  'inverseLower',
  'flashAttention',
  'gatedDelta',
] as const satisfies readonly (keyof Operations)[];
export type Primitive = (typeof primitives)[number];
/** What comes out of them is the same whatever the argument holds: no gradient passes. */
export const constants: ReadonlySet<Primitive | 'frozen'> = new Set(['fill', 'identity']);

/** What a rule works with: `gradient` is that of the operation's `result`; `wants` says whose gradients are needed. */
export interface RuleContext {
  ops: Operations;
  gradient: Tensor;
  result: Tensor;
  wants: (argument: unknown) => boolean;
  /**
   * Gradients of tensors through a formula out of operations that have rules, which comes to the same as the operation itself.
   * @param formula its results, each with its gradient
   */
  through: (of: readonly Tensor[], formula: (ops: Operations) => [result: Tensor, gradient: Tensor][]) => Tensor[];
}

/** Gradients of an operation's arguments, in their order; undefined if none is wanted. */
type Rule<K extends Primitive> = (
  context: RuleContext,
  ...args: Parameters<Operations[K]>
) => readonly (Tensor | undefined)[];

export const dense = (ops: Operations, t: Tensor) => (t.contiguous ? t : ops.cont(t));
/** With the values of a row side by side, as ggml wants the first argument of what takes each value by itself. */
export const inRows = (ops: Operations, t: Tensor) => (t.hasDenseRows ? t : ops.cont(t));

/** Sums a gradient over the dimensions in which `like` was repeated. */
function reduceTo(ops: Operations, gradient: Tensor, like: Tensor): Tensor {
  let g = gradient;
  for (let axis = 0; axis < 4; axis++) {
    const n = g.ne[axis]!;
    const m = like.ne[axis]!;
    if (n === m) continue;
    // The repeats of an axis lie one after the other: [.., m, n/m, ..]. Its sum is a product with ones where it is not the first axis.
    if (axis === 0) {
      if (m !== 1) throw new Error(`a gradient summed from ${n} to ${m} columns`);
      g = ops.sumRows(dense(ops, g));
    } else {
      g = foldAxis(ops, dense(ops, g), axis, m);
    }
  }
  return g;
}

/** Adds up the n/m slices of m along an axis other than the first. */
function foldAxis(ops: Operations, g: Tensor, axis: number, m: number): Tensor {
  const dims = g.ne.map((n, i) => (i === axis ? m : n));
  const slice = (i: number) => ops.view(g, dims, { offset: i * m * g.nb[axis]! });
  let total: Tensor | undefined;
  for (let i = 0; i < g.ne[axis]! / m; i++) total = total ? ops.add(total, slice(i)) : dense(ops, slice(i));
  return total!;
}

/** Sums over groups of consecutive heads that shared one key/value head: [n, m, heads, B] -> [n, m, kvHeads, B]. */
export function sumGroups(ops: Operations, g: Tensor, kvHeads: number): Tensor {
  const [n, m, heads, batch] = g.ne;
  const group = heads / kvHeads;
  if (group === 1) return g;
  const grouped = ops.reshape(g, n * m, group, kvHeads, batch);
  const member = (i: number) => ops.view(grouped, [n * m, 1, kvHeads, batch], { offset: i * grouped.nb[1] });
  let total = ops.add(member(0), member(1));
  for (let i = 2; i < group; i++) total = ops.add(total, member(i));
  return ops.reshape(dense(ops, total), n, m, kvHeads, batch);
}

/** Up to this many terms a sum of outer products is faster than a product over them (measured from 8 to 64 with AVX-512). */
const smallRank = 64;

const inverse = (axes: readonly number[]) => {
  const back = [0, 0, 0, 0] as [number, number, number, number];
  axes.forEach((to, from) => {
    back[to] = from;
  });
  return back;
};

/** gelu as ggml computes it, 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))) (Hendrycks and Gimpel 2016). */
const gelu = { root: Math.sqrt(2 / Math.PI), cubic: 0.044715 };

export const gradientRules: { readonly [K in Primitive]?: Rule<K> } = {
  add: ({ ops, gradient, wants }, _a, b) => [gradient, wants(b) ? reduceTo(ops, gradient, b) : undefined],
  sub: ({ ops, gradient, wants }, _a, b) => [
    gradient,
    wants(b) ? ops.scale(dense(ops, reduceTo(ops, gradient, b)), -1) : undefined,
  ],
  mul: ({ ops, gradient, wants }, a, b) => [
    wants(a) ? ops.mul(inRows(ops, gradient), b) : undefined,
    wants(b) ? reduceTo(ops, ops.mul(inRows(ops, gradient), a), b) : undefined,
  ],
  scale: ({ ops, gradient }, _a, factor) => [ops.scale(dense(ops, gradient), factor)],
  sqr: ({ ops, gradient }, a) => [ops.scale(ops.mul(gradient, a), 2)],
  sum: ({ ops, gradient }, a) => [ops.repeat(gradient, a)],
  sumRows: ({ ops, gradient }, a) => [ops.repeat(gradient, a)],
  exp: ({ ops, gradient, result }) => [ops.mul(inRows(ops, gradient), result)],
  sigmoid: ({ ops, gradient, result }) => {
    const part = ops.mul(inRows(ops, gradient), result);
    return [ops.sub(part, ops.mul(part, result))];
  },
  softplus: ({ ops, gradient }, a) => [ops.mul(inRows(ops, gradient), ops.sigmoid(a))],
  triangle: ({ ops, gradient }, _a, part) => [ops.triangle(dense(ops, gradient), part)],
  // With T = L⁻¹: dT = -T·dL·T, so the gradient of L is -Tᵀ·G·Tᵀ.
  inverseLower: ({ ops, gradient, result }) => {
    const right = ops.mulMat(result, dense(ops, gradient)); // G·Tᵀ
    const turned = (t: Tensor) => ops.cont(ops.transpose(t));
    return [ops.triangle(ops.scale(ops.mulMat(turned(right), turned(result)), -1), 'lower')];
  },
  padRows: ({ ops, gradient }, a) => [ops.view(gradient, a.ne)],
  padColumns: ({ ops, gradient }, a) => [ops.view(gradient, a.ne)],
  silu: ({ ops, gradient }, a) => [ops.siluBack(dense(ops, gradient), a)],
  rmsNorm: ({ ops, gradient }, a, epsilon) => [ops.rmsNormBack(dense(ops, gradient), a, epsilon)],
  // y[n, m] = Σ_k a[k, n]·b[k, m]
  mulMat: ({ ops, gradient, wants }, a, b) => {
    const toA = () => {
      const each = ops.outProd(b, gradient); // [k, n, ..] for every outer index of b
      return a.ne[2] === b.ne[2] ? reduceTo(ops, each, a) : sumGroups(ops, each, a.ne[2]);
    };
    // A product over n, a rank, or the same as a sum of outer products, which is faster where n is small.
    const toB = () =>
      a.ne[1] <= smallRank && a.rows === a.ne[1] && b.rows === b.ne[1]
        ? ops.outProd(a, ops.transpose(gradient))
        : ops.mulMat(ops.cont(ops.transpose(a)), dense(ops, gradient));
    return [wants(a) ? toA() : undefined, wants(b) ? toB() : undefined];
  },
  // y[n, m] = Σ_k a[n, k]·b[m, k]
  outProd: ({ ops, gradient, wants }, a, b) => {
    if (a.ne[2] * a.ne[3] * b.ne[2] * b.ne[3] !== 1) throw new Error(`a gradient of outProd of ${a} and ${b}`);
    return [
      wants(a) ? ops.outProd(gradient, ops.transpose(b)) : undefined,
      wants(b) ? ops.transpose(ops.mulMat(a, dense(ops, gradient))) : undefined,
    ];
  },
  cont: ({ gradient }) => [gradient],
  reshape: ({ ops, gradient }, a) => [ops.reshape(dense(ops, gradient), ...a.ne)],
  permute: ({ ops, gradient }, _a, ...axes) => [ops.permute(gradient, ...inverse(axes))],
  transpose: ({ ops, gradient }) => [ops.transpose(gradient)],
  concat: ({ ops, gradient, wants }, a, b, dim) => [
    wants(a) ? ops.view(gradient, a.ne) : undefined,
    wants(b) ? ops.view(gradient, b.ne, { offset: a.ne[dim]! * gradient.nb[dim]! }) : undefined,
  ],
  repeatTo: ({ ops, gradient }, a) => [reduceTo(ops, gradient, a)],
  getRows: ({ ops, gradient }, a, indices) => [ops.getRowsBack(dense(ops, gradient), indices, a)],
  softMax: ({ ops, gradient, result }, _a, _mask, scale) => [ops.softMaxBack(dense(ops, gradient), result, scale)],
  rope: ({ ops, gradient }, _a, positions, factors, rope) => [ops.ropeBack(gradient, positions, factors, rope)],
  swiglu: ({ ops, gradient, wants }, gate, up) => [
    wants(gate) ? ops.siluBack(ops.mul(gradient, up), dense(ops, gate)) : undefined,
    wants(up) ? ops.mul(ops.silu(gate), gradient) : undefined,
  ],
  geglu: ({ ops, gradient, wants }, gate, up) => {
    const square = ops.sqr(gate);
    const inner = ops.add(gate, ops.scale(ops.mul(square, gate), gelu.cubic));
    const t = ops.tanh(ops.scale(inner, gelu.root));
    const half = ops.scale(gate, 0.5);
    const value = ops.add(half, ops.mul(half, t));
    // d/dx = 0.5·(1 + t) + 0.5·x·(1 - t²)·√(2/π)·(1 + 3·0.044715·x²); this is the second term.
    const slope = () => {
      const steep = ops.sub(half, ops.mul(half, ops.sqr(t)));
      return ops.add(ops.scale(steep, gelu.root), ops.scale(ops.mul(steep, square), 3 * gelu.root * gelu.cubic));
    };
    // g·up·0.5·(1 + t) without a tensor of ones: 0.5·(w + w·t).
    const toGate = () => {
      const w = ops.mul(gradient, up);
      return ops.add(ops.scale(ops.add(w, ops.mul(w, t)), 0.5), ops.mul(w, slope()));
    };
    return [wants(gate) ? toGate() : undefined, wants(up) ? ops.mul(value, gradient) : undefined];
  },
  /**
   * Attention's scores are computed again instead of kept: they are the one thing that grows with the square of the length.
   * q [headDim, queries, heads, B], k and v [headDim, keys, kvHeads, B], result [headDim, heads, queries, B].
   */
  flashAttention: ({ ops, gradient, wants }, q, k, v, mask, scale) => {
    const g = ops.permute(gradient, 0, 2, 1, 3); // [headDim, queries, heads, B]
    const p = ops.softMax(ops.mulMat(k, q), mask, scale); // [keys, queries, heads, B]
    const gradientScores = () => ops.softMaxBack(ops.mulMat(v, g), p, scale);
    const gs = wants(q) || wants(k) ? gradientScores() : undefined;
    return [
      // As a product over keys, whose number suits no fast kernel, this would be a mulMat; as a sum of rows the number is free.
      gs && wants(q) ? ops.outProd(k, ops.transpose(gs)) : undefined,
      gs && wants(k) ? sumGroups(ops, ops.outProd(q, gs), k.ne[2]) : undefined,
      wants(v) ? sumGroups(ops, ops.outProd(g, p), v.ne[2]) : undefined,
    ];
  },
  /** States of all tokens would be megabytes each: those of chunks are computed again (`deltaRule.ts`). */
  gatedDelta: ({ ops, gradient, wants, through }, ...args) => {
    const [queries, keys, values, decays, shares, states] = args;
    const [d, heads, tokens, sequences] = values.ne;
    const rows = (from: number, count: number) => dense(ops, ops.rowsOf(gradient, from, count));
    const out = ops.reshape(rows(0, tokens * sequences), d, heads, tokens, sequences);
    const after = ops.reshape(rows(tokens * sequences, d * sequences), d, d, heads, sequences);
    const wanted = args.filter(wants);
    const found = through(wanted, (tape) => {
      const chunked = deltaInChunks(tape, { queries, keys, values, decays, shares, states });
      return [
        [chunked.out, ops.cont(ops.permute(out, 0, 2, 1, 3))],
        [chunked.states, after],
      ];
    });
    return args.map((argument) => {
      const of = found[wanted.indexOf(argument)];
      return of && dense(ops, of);
    });
  },
};
