import { Elementwise, fail, repeats, sameShape } from './elementwise.js';
import { native } from './native.js';
import { type Shape, shapeOf, type Tensor } from './tensor.js';
import { type TensorTypeName, tensorTypes } from './tensorTypes.js';

/** Rotation of a rotary position embedding (Su et al. 2021), as `ggml_rope_ext` takes it. */
export interface RopeParameters {
  /** Rotated dimensions of a head. */
  dimensions: number;
  /** `norm` rotates neighbouring pairs (Llama in GGUF), `neox` the two halves of the head. */
  mode: 'norm' | 'neox';
  contextOriginal: number;
  base: number;
  scale: number;
  extFactor: number;
  attnFactor: number;
  betaFast: number;
  betaSlow: number;
}

const ropeModes = { norm: 0, neox: 2 } as const;
const f32 = tensorTypes.f32;
/** `enum ggml_tri_type` (ggml.h). */
const triangles = { lower: 2, strictlyLower: 3, strictlyUpper: 1, upper: 0 } as const;

/**
 * The operations of ggml that Loam uses, with ggml's own preconditions checked here, because ggml aborts the process if they fail. Shapes in comments are in ggml's order, ne0 first.
 */
export class Operations extends Elementwise {
  /** Sum of everything: [1]. */
  sum(a: Tensor): Tensor {
    return this.wrap(native().ggml.sum(this.context, a.handle), a.type, [1, 1, 1, 1]);
  }
  /** Sums over ne0: [n, m, ...] -> [1, m, ...]. */
  sumRows(a: Tensor): Tensor {
    return this.wrap(native().ggml.sumRows(this.context, a.handle), a.type, [1, a.ne[1], a.ne[2], a.ne[3]]);
  }

  /** Index of the largest value of each row of a matrix [n, m]: i32 [m]. */
  argmax(a: Tensor): Tensor {
    if (a.ne[2] !== 1 || a.ne[3] !== 1) fail('argmax', a);
    return this.wrap(native().ggml.argmax(this.context, a.handle), tensorTypes.i32, [a.ne[1], 1, 1, 1]);
  }

  /** One value of each row of a matrix [n, m], by index i32 [m]: f32 [m]. */
  pick(a: Tensor, indices: Tensor): Tensor {
    const [n, m] = a.ne;
    return this.reshape(this.getRows(this.reshape(a, 1, n, m), this.reshape(indices, 1, m)), m);
  }

  /** Row-wise x / rms(x) over ne0 (Zhang and Sennrich 2019), without the weight. */
  rmsNorm(a: Tensor, epsilon: number): Tensor {
    return this.wrap(native().ggml.rmsNorm(this.context, a.handle, epsilon), a.type, a.ne);
  }

  /** Gradient of `rmsNorm` at x, given the gradient of its result. */
  rmsNormBack(gradient: Tensor, x: Tensor, epsilon: number): Tensor {
    if (gradient.ne.join() !== x.ne.join()) fail('rmsNormBack', gradient, x);
    const handle = native().ggml.rmsNormBack(this.context, gradient.handle, x.handle, epsilon);
    return this.wrap(handle, x.type, x.ne);
  }

  /** Gradient of `silu` at x, given the gradient of its result. */
  siluBack(gradient: Tensor, x: Tensor): Tensor {
    if (!sameShape(gradient, x) || !gradient.contiguous || !x.contiguous) fail('siluBack', gradient, x);
    return this.wrap(native().ggml.siluBack(this.context, gradient.handle, x.handle), x.type, x.ne);
  }

  /** Gradient of softMax's argument, given that of its result y: scale·y·(g - Σ g·y) over ne0. */
  softMaxBack(gradient: Tensor, y: Tensor, scale: number): Tensor {
    if (!sameShape(gradient, y) || !gradient.contiguous || !y.contiguous) fail('softMaxBack', gradient, y);
    return this.wrap(native().ggml.softMaxBack(this.context, gradient.handle, y.handle, scale, 0), f32, y.ne);
  }

  /** Gradient of getRows' matrix (of the shape of `like`), given that of the rows: each row added where it came from. */
  getRowsBack(gradient: Tensor, indices: Tensor, like: Tensor): Tensor {
    const matrices = [gradient, like].every((t) => t.ne[2] === 1 && t.ne[3] === 1);
    if (!matrices || gradient.ne[0] !== like.ne[0] || gradient.ne[1] !== indices.elements || gradient.nb[0] !== 4) {
      fail('getRowsBack', gradient, indices, like);
    }
    const handle = native().ggml.getRowsBack(this.context, gradient.handle, indices.handle, like.handle);
    return this.wrap(handle, f32, like.ne);
  }

  /**
   * One step of AdamW (Loshchilov and Hutter 2019) on `parameter` and its moments in place. The parameter must be made with
   * `TensorBuffer.parameter`. `settings` f32 [7]: learning rate, β1, β2, ε, weight decay, 1/(1-β1ᵗ), 1/(1-β2ᵗ).
   */
  adamwStep(parameter: Tensor, gradient: Tensor, first: Tensor, second: Tensor, settings: Tensor): Tensor {
    const fits = [gradient, first, second].every((t) => sameShape(t, parameter) && t.contiguous);
    if (!fits || settings.elements !== 7) fail('adamwStep', parameter, gradient, first, second, settings);
    const handle = native().ggml.adamwStep(
      this.context,
      parameter.handle,
      gradient.handle,
      first.handle,
      second.handle,
      settings.handle,
    );
    return this.wrap(handle, f32, parameter.ne);
  }

  /** aᵀ·b over ne0: a [k, n, ...], b [k, m, ...] -> [n, m, ...] f32; a is repeated over b's outer dimensions. */
  mulMat(a: Tensor, b: Tensor): Tensor {
    const broadcast = b.ne[2] % a.ne[2] === 0 && b.ne[3] % a.ne[3] === 0;
    if (a.ne[0] !== b.ne[0] || !broadcast || !a.hasDenseRows) fail('mulMat', a, b);
    const ne: Shape = [a.ne[1], b.ne[1], b.ne[2], b.ne[3]];
    return this.wrap(native().ggml.mulMat(this.context, a.handle, b.handle), f32, ne);
  }

  /** a·bᵀ over ne1: a [n, k], b [m, k] -> [n, m] f32. */
  outProd(a: Tensor, b: Tensor): Tensor {
    const broadcast = b.ne[2] % a.ne[2] === 0 && b.ne[3] % a.ne[3] === 0;
    if (a.ne[1] !== b.ne[1] || !broadcast) fail('outProd', a, b);
    const ne: Shape = [a.ne[0], b.ne[0], b.ne[2], b.ne[3]];
    return this.wrap(native().ggml.outProd(this.context, a.handle, b.handle), f32, ne);
  }

  /** Copies a into the memory of b (converting its type); the result is b. */
  copy(a: Tensor, b: Tensor): Tensor {
    if (a.elements !== b.elements) fail('copy', a, b);
    return this.wrap(native().ggml.copy(this.context, a.handle, b.handle), b.type, b.ne, b.nb);
  }
  /** A dense copy. */
  cont(a: Tensor): Tensor {
    return this.wrap(native().ggml.cont(this.context, a.handle), a.type, a.ne);
  }
  cast(a: Tensor, type: TensorTypeName): Tensor {
    return this.wrap(native().ggml.cast(this.context, a.handle, tensorTypes[type].id), tensorTypes[type], a.ne);
  }

  /** The same dense data under another shape. */
  reshape(a: Tensor, ...dims: number[]): Tensor {
    const ne = shapeOf(dims);
    const elements = ne[0] * ne[1] * ne[2] * ne[3];
    if (elements !== a.elements || !a.contiguous) fail('reshape', a, `to [${dims.join(', ')}]`);
    return this.wrap(native().ggml.reshape(this.context, a.handle, ...ne), a.type, ne);
  }

  /** A window into a: `dims` sizes, `strides` in bytes for dimensions 1 to 3 (default: those of a), `offset` in bytes. */
  view(a: Tensor, dims: readonly number[], options: { offset?: number; strides?: readonly number[] } = {}): Tensor {
    const ne = shapeOf(dims);
    const { offset = 0, strides = [a.nb[1], a.nb[2], a.nb[3]] } = options;
    const nb: Shape = [a.nb[0], strides[0] ?? a.nb[1], strides[1] ?? a.nb[2], strides[2] ?? a.nb[3]];
    const rowSize = (ne[0] / a.type.blockSize) * a.type.typeSize;
    const end = offset + (ne[1] - 1) * nb[1] + (ne[2] - 1) * nb[2] + (ne[3] - 1) * nb[3] + rowSize;
    const extent = a.ne.reduce(
      (sum, n, i) => sum + (i === 0 ? 0 : (n - 1) * a.nb[i]!),
      (a.ne[0] / a.type.blockSize) * a.type.typeSize,
    );
    if (end > extent || offset < 0) fail('view', a, `[${dims.join(', ')}] at byte ${offset}`);
    const handle = native().ggml.view(this.context, a.handle, ...ne, nb[1], nb[2], nb[3], offset);
    return this.wrap(handle, a.type, ne, nb);
  }

  /** Entries [from, from + count) along one axis, without copying. */
  slice(a: Tensor, axis: 0 | 1, from: number, count: number): Tensor {
    const dims = a.ne.map((n, i) => (i === axis ? count : n));
    return this.view(a, dims, { offset: from * a.nb[axis] });
  }
  /** Rows [from, from + count) of a matrix, without copying. */
  rowsOf(a: Tensor, from: number, count: number): Tensor {
    return this.slice(a, 1, from, count);
  }

  /** Dimension i of a becomes dimension axes[i] of the result; no data moves. */
  permute(a: Tensor, ...axes: [number, number, number, number]): Tensor {
    if ([...axes].sort().join() !== '0,1,2,3') fail('permute', a, `by [${axes.join(', ')}]`);
    const ne: number[] = [];
    const nb: number[] = [];
    axes.forEach((to, from) => {
      ne[to] = a.ne[from]!;
      nb[to] = a.nb[from]!;
    });
    const handle = native().ggml.permute(this.context, a.handle, ...axes);
    return this.wrap(handle, a.type, ne as unknown as Shape, nb as unknown as Shape);
  }

  /** Exchanges ne0 and ne1; no data moves. */
  transpose(a: Tensor): Tensor {
    const handle = native().ggml.transpose(this.context, a.handle);
    const ne: Shape = [a.ne[1], a.ne[0], a.ne[2], a.ne[3]];
    return this.wrap(handle, a.type, ne, [a.nb[1], a.nb[0], a.nb[2], a.nb[3]]);
  }

  /** a and b one after the other along `dim`. */
  concat(a: Tensor, b: Tensor, dim: number): Tensor {
    if (a.type !== b.type || a.ne.some((n, i) => i !== dim && n !== b.ne[i])) fail('concat', a, b);
    const ne = a.ne.map((n, i) => (i === dim ? n + b.ne[i]! : n)) as unknown as Shape;
    return this.wrap(native().ggml.concat(this.context, a.handle, b.handle, dim), a.type, ne);
  }

  /** b repeated to the shape of `like`. */
  repeat(a: Tensor, like: Tensor): Tensor {
    if (!repeats(like, a)) fail('repeat', a, like);
    return this.wrap(native().ggml.repeat(this.context, a.handle, like.handle), a.type, like.ne);
  }

  /** a repeated `times` along each dimension. */
  repeatTo(a: Tensor, ...times: [number, number, number, number]): Tensor {
    const ne = a.ne.map((n, i) => n * times[i]!) as unknown as Shape;
    const handle = native().ggml.repeat4d(this.context, a.handle, ...ne);
    return this.wrap(handle, a.type, ne);
  }

  /** `count` rows of zeros appended to a matrix. */
  padRows(a: Tensor, count: number): Tensor {
    const ne: Shape = [a.ne[0], a.ne[1] + count, a.ne[2], a.ne[3]];
    return this.wrap(native().ggml.pad(this.context, a.handle, 0, count, 0, 0), a.type, ne);
  }

  /** `count` columns of zeros appended to a matrix. */
  padColumns(a: Tensor, count: number): Tensor {
    const ne: Shape = [a.ne[0] + count, a.ne[1], a.ne[2], a.ne[3]];
    return this.wrap(native().ggml.pad(this.context, a.handle, count, 0, 0, 0), a.type, ne);
  }

  /** Rows of a by index: a [n, rows], indices i32 [m] -> f32 [n, m] (dequantised). The caller checks the indices' range. */
  getRows(a: Tensor, indices: Tensor): Tensor {
    if (indices.type.name !== 'i32' || a.ne[2] !== indices.ne[1] || a.ne[3] !== indices.ne[2])
      fail('getRows', a, indices);
    const type = a.type.name === 'i32' ? a.type : f32;
    const ne: Shape = [a.ne[0], indices.ne[0], indices.ne[1], indices.ne[2]];
    return this.wrap(native().ggml.getRows(this.context, a.handle, indices.handle), type, ne);
  }

  /** softmax(scale·a + mask) over ne0; mask f32 or f16 [ne0, at least ne1, ...], repeated over the outer dimensions. */
  softMax(a: Tensor, mask: Tensor | null, scale: number): Tensor {
    const fits =
      mask === null ||
      (mask.contiguous &&
        mask.ne[0] === a.ne[0] &&
        mask.ne[1] >= a.ne[1] &&
        a.ne[2] % mask.ne[2] === 0 &&
        a.ne[3] % mask.ne[3] === 0);
    if (!fits || !a.contiguous) fail('softMax', a, mask ?? 'no mask');
    return this.wrap(native().ggml.softMaxExt(this.context, a.handle, mask?.handle ?? null, scale, 0), f32, a.ne);
  }

  /** Rotates a [headDim, heads, tokens, ...] by positions i32 [tokens]; `factors` f32 [dimensions/2] divides the frequencies. */
  rope(a: Tensor, positions: Tensor, factors: Tensor | null, rope: RopeParameters): Tensor {
    return this.rotate('ropeExt', a, positions, factors, rope);
  }

  /** Gradient of `rope`'s argument, given that of its result: the rotation the other way. */
  ropeBack(gradient: Tensor, positions: Tensor, factors: Tensor | null, rope: RopeParameters): Tensor {
    return this.rotate('ropeBack', gradient, positions, factors, rope);
  }

  private rotate(
    name: 'ropeExt' | 'ropeBack',
    a: Tensor,
    positions: Tensor,
    factors: Tensor | null,
    rope: RopeParameters,
  ): Tensor {
    if (positions.type.name !== 'i32' || positions.ne[0] !== a.ne[2] || rope.dimensions > a.ne[0]) {
      fail('rope', a, positions);
    }
    if (factors && factors.ne[0] < rope.dimensions / 2) fail('rope', a, factors);
    const handle = native().ggml[name](
      this.context,
      a.handle,
      positions.handle,
      factors?.handle ?? null,
      rope.dimensions,
      ropeModes[rope.mode],
      rope.contextOriginal,
      rope.base,
      rope.scale,
      rope.extFactor,
      rope.attnFactor,
      rope.betaFast,
      rope.betaSlow,
    );
    return this.wrap(handle, a.type, a.ne);
  }

  /** silu(gate)·up (Shazeer 2020). */
  swiglu(gate: Tensor, up: Tensor): Tensor {
    if (!repeats(gate, up) || gate.elements !== up.elements) fail('swiglu', gate, up);
    return this.wrap(native().ggml.swigluSplit(this.context, gate.handle, up.handle), gate.type, gate.ne);
  }
  /** gelu(gate)·up. */
  geglu(gate: Tensor, up: Tensor): Tensor {
    if (!repeats(gate, up) || gate.elements !== up.elements) fail('geglu', gate, up);
    return this.wrap(native().ggml.gegluSplit(this.context, gate.handle, up.handle), gate.type, gate.ne);
  }

  /**
   * Fused attention: q [headDim, queries, heads, batch], k and v [headDim, keys, kvHeads, batch], mask f16 [keys, queries]
   * -> [headDim, heads, queries, batch].
   */
  flashAttention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | null, scale: number): Tensor {
    if (q.ne[0] !== k.ne[0] || k.ne[1] !== v.ne[1] || q.ne[2] % k.ne[2] !== 0) fail('flashAttention', q, k, v);
    if (mask && (mask.ne[0] !== k.ne[1] || mask.ne[1] < q.ne[1])) fail('flashAttention', q, mask);
    const handle = native().ggml.flashAttention(
      this.context,
      q.handle,
      k.handle,
      v.handle,
      mask?.handle ?? null,
      scale,
      0,
      0,
    );
    native().ggml.flashAttentionPrecision(handle, 10); // GGML_PREC_F32
    return this.wrap(handle, f32, [v.ne[0], q.ne[2], q.ne[1], q.ne[3]]);
  }

  /** Of square matrices [n, n, ...] what lies in a triangle, rows below one another; elsewhere zeros. */
  triangle(a: Tensor, part: keyof typeof triangles): Tensor {
    if (a.ne[0] !== a.ne[1] || !a.contiguous) fail('triangle', a, part);
    return this.wrap(native().ggml.triangle(this.context, a.handle, triangles[part]), f32, a.ne);
  }

  /** The same value everywhere, in the shape of `like`, whose values do not matter. */
  fill(like: Tensor, value: number): Tensor {
    return this.wrap(native().ggml.fill(this.context, like.handle, value), f32, like.ne);
  }

  /** Identity matrices of the shape of `like`, [n, n, ...]. */
  identity(like: Tensor): Tensor {
    const [n, rows, ...outer] = like.ne;
    if (n !== rows) fail('identity', like);
    const ones = this.fill(this.cont(this.view(like, [n, 1, ...outer], { strides: like.nb.slice(1) })), 1);
    return this.wrap(native().ggml.diag(this.context, ones.handle), f32, like.ne);
  }

  /** Inverses of lower triangular matrices [n, n, ...], by forward substitution; what lies above the diagonal is not read. */
  inverseLower(a: Tensor): Tensor {
    if (a.ne[0] !== a.ne[1] || !a.contiguous) fail('inverseLower', a);
    const handle = native().ggml.solveTriangle(this.context, a.handle, this.identity(a).handle, true, true, false);
    return this.wrap(handle, f32, a.ne);
  }

  /**
   * The gated delta rule (`DeltaNet` in families/family.ts) of sequences, each on its own state, head by head: values [d, heads, tokens,
   * sequences], queries and keys [d, key heads, tokens, sequences] (head h reads by h mod key heads), decays g and shares β [1, heads,
   * tokens, sequences], states Sᵀ [d, d, heads, sequences]
   * -> [d·heads, tokens·sequences + d·sequences]: what it puts out, token by token, and behind it the states after the last one.
   */
  gatedDelta(queries: Tensor, keys: Tensor, values: Tensor, decays: Tensor, shares: Tensor, states: Tensor): Tensor {
    const [d, heads, tokens, sequences] = values.ne;
    const same = (t: Tensor, ...ne: number[]) => t.contiguous && t.ne.every((n, i) => n === ne[i]);
    const read = (t: Tensor) => heads % t.ne[1] === 0 && same(t, d, t.ne[1], tokens, sequences);
    const one = (t: Tensor) => same(t, 1, heads, tokens, sequences);
    const fits = read(queries) && read(keys) && values.contiguous && one(decays) && one(shares);
    if (!fits || !same(states, d, d, heads, sequences))
      fail('gatedDelta', queries, keys, values, decays, shares, states);
    const handle = native().ggml.gatedDelta(
      this.context,
      queries.handle,
      keys.handle,
      values.handle,
      decays.handle,
      shares.handle,
      states.handle,
      1,
    );
    return this.wrap(handle, f32, [d * heads, (tokens + d) * sequences, 1, 1]);
  }
}
