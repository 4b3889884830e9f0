import { LoamError } from '../../base/errors.js';
import type { Graph, Workspace } from '../../engine/graph.js';
import type { Tensor, TensorBuffer } from '../../engine/tensor.js';

/** Columns factored at once: the diagonal blocks in JavaScript (f64), all else as matrix products in ggml (f32). */
export const blockSize = 128;
/** Right-hand sides solved for together, which bounds the memory for intermediate results. */
const stripColumns = 512;

/**
 * Cholesky factor L (lower triangle, C = L·Lᵀ) of a symmetric positive definite matrix, blocked and left-looking
 * (Golub and Van Loan, Matrix Computations, §4.2).
 */
export class Cholesky implements Disposable {
  /** Offsets of the blocks and the inverses of the diagonal blocks, f32 [size, size], and transposed. */
  private readonly blocks: { from: number; size: number; inverse: Float32Array; inverseT: Float32Array }[] = [];

  private constructor(
    private readonly workspace: Workspace,
    /** [n, n]: L in the lower triangle (ne0 <= ne1); outside the blocks on the diagonal Lᵀ in the upper one. */
    readonly factor: Tensor,
    private readonly buffer: TensorBuffer,
  ) {}

  get size(): number {
    return this.factor.ne[0];
  }

  /**
   * Factors `matrix` + shift·I; the matrix itself is left as it is.
   * @throws LoamError if that is not positive definite
   */
  static async factor(workspace: Workspace, matrix: Tensor, shift: number, signal?: AbortSignal): Promise<Cholesky> {
    const n = matrix.ne[0];
    const buffer = workspace.engine.buffer(1);
    const factor = buffer.tensor('f32', [n, n]);
    buffer.allocate();
    const self = new Cholesky(workspace, factor, buffer);
    try {
      const copy = workspace.begin();
      copy.run(copy.copy(matrix, factor));
      await copy.compute(signal);
      for (let from = 0; from < n; from += blockSize) {
        await self.step(from, Math.min(blockSize, n - from), shift, signal);
      }
      await self.mirror(signal);
      return self;
    } catch (error) {
      self[Symbol.dispose]();
      throw error;
    }
  }

  /** Factors the columns [from, from + size); those before are factored, but for the rows below the last diagonal block. */
  private async step(from: number, size: number, shift: number, signal?: AbortSignal): Promise<void> {
    const { factor, workspace } = this;
    const n = this.size;
    const before = this.blocks.at(-1);
    if (before) {
      const g = workspace.begin();
      const window = (firstColumn: number, columns: number) =>
        g.view(factor, [columns, n - from], { offset: from * factor.nb[1] + firstColumn * 4 });
      const below = window(before.from, before.size); // P·L⁻ᵀ, [before.size, n - from]
      g.run(g.copy(g.mulMat(g.input('f32', [before.size, before.size], before.inverse), g.cont(below)), below));
      // What the columns before take from these: one long product, written once.
      const left = window(0, from); // [from, n - from]
      const taken = g.mulMat(left, g.cont(g.rowsOf(left, 0, size))); // [n - from, size]
      const columns = window(from, size);
      g.run(g.copy(g.sub(g.cont(columns), g.cont(g.transpose(taken))), columns));
      await g.compute(signal);
    }

    const diagonal = new Float64Array(size * size);
    const row = new Float32Array(size);
    for (let i = 0; i < size; i++) {
      factor.read(row, (from + i) * factor.nb[1] + from * 4);
      diagonal.set(row, i * size);
      diagonal[i * size + i]! += shift;
    }
    const inverse = factorSmall(diagonal, size, from);
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < size; j++) row[j] = j <= i ? diagonal[i * size + j]! : 0;
      factor.write(row, (from + i) * factor.nb[1] + from * 4);
    }
    this.blocks.push({
      from,
      size,
      inverse: Float32Array.from(inverse),
      inverseT: Float32Array.from(transposeSquare(inverse, size)),
    });
  }

  /** Writes Lᵀ above the diagonal blocks, where `solveUpper` reads it row by row. */
  private async mirror(signal?: AbortSignal): Promise<void> {
    const g = this.workspace.begin();
    mirrorBlocks(g, this.factor, this.blocks);
    await g.compute(signal);
  }

  /**
   * Adds to `g` the solution of L·Z = B. B is f32 [n, m] (m right-hand sides of n values each), and so is Z, written to `into`,
   * which may be B's own memory.
   */
  solveLower(g: Graph, b: Tensor, into: Tensor): void {
    const inverses = this.blocks.map(({ size, inverse }) => g.input('f32', [size, size], inverse));
    inStrips(g, b, into, (b, into) => this.lowerStrip(g, b, into, inverses));
  }

  private lowerStrip(g: Graph, b: Tensor, into: Tensor, inverses: readonly Tensor[]): void {
    for (const [i, { from, size }] of this.blocks.entries()) {
      let rest = g.cont(columns(g, b, from, size)); // [size, m]
      if (from > 0) {
        const known = g.cont(columns(g, into, 0, from)); // [from, m]
        const rows = g.view(this.factor, [from, size], { offset: from * this.factor.nb[1] });
        rest = g.sub(rest, g.mulMat(rows, known));
      }
      g.run(g.copy(g.mulMat(inverses[i]!, rest), columns(g, into, from, size)));
    }
  }

  /** Adds to `g` the solution of Lᵀ·U = B, shapes as in `solveLower`. */
  solveUpper(g: Graph, b: Tensor, into: Tensor): void {
    const inverses = this.blocks.map(({ size, inverseT }) => g.input('f32', [size, size], inverseT));
    inStrips(g, b, into, (b, into) => this.upperStrip(g, b, into, inverses));
  }

  private upperStrip(g: Graph, b: Tensor, into: Tensor, inverses: readonly Tensor[]): void {
    const n = this.size;
    for (let i = this.blocks.length - 1; i >= 0; i--) {
      const { from, size } = this.blocks[i]!;
      let rest = g.cont(columns(g, b, from, size)); // [size, m]
      const after = n - from - size;
      if (after > 0) {
        const known = g.cont(columns(g, into, from + size, after)); // [after, m]
        const right = g.view(this.factor, [after, size], {
          offset: from * this.factor.nb[1] + (from + size) * 4,
        });
        rest = g.sub(rest, g.mulMat(right, known));
      }
      g.run(g.copy(g.mulMat(inverses[i]!, rest), columns(g, into, from, size)));
    }
  }

  [Symbol.dispose](): void {
    this.buffer[Symbol.dispose]();
  }
}

/** Copies what lies below the blocks on the diagonal of an f32 square matrix to its transposed place on their right. */
export function mirrorBlocks(g: Graph, square: Tensor, blocks: readonly { from: number; size: number }[]): void {
  for (const { from, size } of blocks) {
    const after = square.ne[1] - from - size;
    if (after === 0) break;
    const below = g.view(square, [size, after], { offset: (from + size) * square.nb[1] + from * 4 });
    const right = g.view(square, [after, size], { offset: from * square.nb[1] + (from + size) * 4 });
    g.run(g.copy(g.transpose(below), right));
  }
}

/** Right-hand sides (rows in memory) a strip at a time. */
function inStrips(g: Graph, b: Tensor, into: Tensor, solve: (b: Tensor, into: Tensor) => void): void {
  for (let first = 0; first < b.ne[1]; first += stripColumns) {
    const count = Math.min(stripColumns, b.ne[1] - first);
    solve(g.rowsOf(b, first, count), g.rowsOf(into, first, count));
  }
}

/** Columns [from, from + size) of a matrix stored as rows. */
function columns(g: Graph, matrix: Tensor, from: number, size: number): Tensor {
  return g.view(matrix, [size, matrix.ne[1]], { offset: from * 4 });
}

/** In-place Cholesky of a small row-major matrix (lower triangle); returns the inverse of the factor. */
function factorSmall(a: Float64Array, n: number, offset: number): Float64Array {
  for (let j = 0; j < n; j++) {
    let d = a[j * n + j]!;
    for (let k = 0; k < j; k++) d -= a[j * n + k]! ** 2;
    if (!(d > 0)) {
      throw new LoamError({
        code: 'invalid-data',
        found: `the activation statistics are not positive definite (pivot ${d} at ${offset + j})`,
        fix: 'use more examples, or a larger ridge',
      });
    }
    const root = Math.sqrt(d);
    a[j * n + j] = root;
    for (let i = j + 1; i < n; i++) {
      let sum = a[i * n + j]!;
      for (let k = 0; k < j; k++) sum -= a[i * n + k]! * a[j * n + k]!;
      a[i * n + j] = sum / root;
    }
  }
  const inverse = new Float64Array(n * n);
  for (let j = 0; j < n; j++) {
    inverse[j * n + j] = 1 / a[j * n + j]!;
    for (let i = j + 1; i < n; i++) {
      let sum = 0;
      for (let k = j; k < i; k++) sum -= a[i * n + k]! * inverse[k * n + j]!;
      inverse[i * n + j] = sum / a[i * n + i]!;
    }
  }
  return inverse;
}

function transposeSquare(a: Float64Array, n: number): Float64Array {
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) out[j * n + i] = a[i * n + j]!;
  return out;
}
