import type { Graph, Workspace } from '../../engine/graph.js';
import { forPlacing, type Linear, placeComputed } from '../../engine/placement.js';
import type { Tensor, TensorBuffer } from '../../engine/tensor.js';
import { mirrorBlocks } from './cholesky.js';

/** Rows multiplied at once: a long inner dimension is fast, and every product passes over all sums. */
const chunkRows = 512;
/** The inner dimension, here the rows, is a multiple of this: two blocks of q8_0, which AMX wants at least. Zeros fill it up. */
const rowAlignment = 64;
/** Columns computed by one product, which bounds the memory for what is added. */
const blockColumns = 512;

/** Rows that wait to be multiplied. */
interface Chunk {
  /** [inputs, chunkRows] and [outputs, chunkRows], of which the first `rows` are filled. */
  x: Float32Array;
  y: Float32Array;
  rows: number;
}

/**
 * Sufficient statistics of a least-squares problem Y ≈ X·W with n inputs and m outputs: XᵀX, XᵀY and the squared norm of Y. Rows are
 * streamed in; no more than a chunk of them is kept.
 *
 * Fast kernels compute the products as they do those of frozen weights: columns are rounded to q8_0, in blocks of 32 rows, and lie in
 * the layout that this machine multiplies fastest (with AMX nearly four times as fast as bf16). A rounding error is at most half of
 * 1/127 of its block's largest value, so the errors of a column have less than 2⁻¹² of its sum of squares: far below any ridge used
 * here. Sums are f32.
 */
export class Gram implements Disposable {
  /** XᵀX, f32 [n, n]. */
  readonly xx: Tensor;
  /** XᵀY, f32 [n, m]: m rows of n values. */
  readonly xy: Tensor;
  /** Σ y², f32 [1]. */
  readonly yy: Tensor;
  private readonly buffer: TensorBuffer;
  private readonly chunks: Chunk[] = [];
  private added: { x: Tensor; y: Tensor } | undefined;
  private mirrored = true;

  constructor(
    private readonly workspace: Workspace,
    readonly inputs: number,
    readonly outputs: number,
    private readonly signal?: AbortSignal,
  ) {
    this.buffer = workspace.engine.buffer(3);
    this.xx = this.buffer.tensor('f32', [inputs, inputs]);
    this.xy = this.buffer.tensor('f32', [inputs, outputs]);
    this.yy = this.buffer.tensor('f32', [1]);
    this.buffer.allocate({ zero: true });
  }

  /** Declares rows of a graph to be added when `computed` is called: x f32 [n, rows], y f32 [m, rows]. */
  add(graph: Graph, x: Tensor, y: Tensor): void {
    this.added = { x: graph.output(x), y: graph.output(y) };
  }

  /** Adds the rows of the graph that has just been computed. Ends that graph: all else has been read from it before. */
  async computed(): Promise<void> {
    if (!this.added) return;
    const { x, y } = this.added;
    this.added = undefined;
    for (let from = 0; from < x.rows; ) {
      const chunk = this.unfilled();
      const count = Math.min(chunkRows - chunk.rows, x.rows - from);
      readRows(x, from, count, chunk.x, chunk.rows);
      readRows(y, from, count, chunk.y, chunk.rows);
      chunk.rows += count;
      from += count;
    }
    for (const chunk of this.chunks) {
      if (chunk.rows === chunkRows) await this.multiply(chunk);
    }
  }

  /** Adds the rows that still wait, and completes XᵀX above the diagonal; to be called before the sums are used. */
  async complete(): Promise<void> {
    for (const chunk of this.chunks.splice(0)) if (chunk.rows > 0) await this.multiply(chunk);
    if (this.mirrored) return;
    const g = this.workspace.begin();
    mirrorBlocks(g, this.xx, blocksOf(this.inputs));
    await g.compute(this.signal);
    this.mirrored = true;
  }

  /** A chunk with room, whose unfilled rows are zero. */
  private unfilled(): Chunk {
    let chunk = this.chunks.find(({ rows }) => rows < chunkRows);
    if (!chunk) {
      const room = (width: number) => new Float32Array(chunkRows * width);
      chunk = { x: room(this.inputs), y: room(this.outputs), rows: 0 };
      this.chunks.push(chunk);
    }
    return chunk;
  }

  /** Adds the products of a chunk's rows to the sums, and empties it. */
  private async multiply(chunk: Chunk): Promise<void> {
    const { workspace, inputs, outputs, signal } = this;
    const { engine } = workspace;
    const rows = Math.ceil(chunk.rows / rowAlignment) * rowAlignment;
    using turned = engine.buffer(2);
    const xt = turned.tensor('f32', [rows, inputs]);
    const yt = turned.tensor('f32', [rows, outputs]);
    turned.allocate();

    const turn = workspace.begin();
    const given = (values: Float32Array, width: number) =>
      turn.input('f32', [width, rows], values.subarray(0, rows * width));
    const y = given(chunk.y, outputs);
    turn.run(turn.copy(turn.transpose(given(chunk.x, inputs)), xt));
    turn.run(turn.copy(turn.transpose(y), yt));
    turn.run(turn.addInplace(this.yy, turn.sum(turn.sqr(y))));
    const rounded = blocksOf(inputs).map(({ from, size }) => forPlacing(turn, turn.rowsOf(xt, from, size)));
    await turn.compute(signal);
    const blocks: Linear[] = [];
    try {
      for (const block of rounded) blocks.push(await placeComputed(engine, block));
      const g = workspace.begin();
      blocksOf(inputs).forEach(({ from }, i) => {
        // XᵀX is symmetric: only blocks on and below the diagonal are computed, `complete` fills in the rest.
        addProduct(g, blocks[i]!, g.rowsOf(xt, from, inputs - from), this.xx, [from, from]);
        addProduct(g, blocks[i]!, yt, this.xy, [from, 0]);
      });
      await g.compute(signal);
    } finally {
      for (const block of blocks) block[Symbol.dispose]();
    }
    chunk.x.fill(0);
    chunk.y.fill(0);
    chunk.rows = 0;
    this.mirrored = false;
  }

  get bytes(): number {
    return this.buffer.size;
  }

  [Symbol.dispose](): void {
    this.buffer[Symbol.dispose]();
  }
}

/** Adds `left`·right to the part of `target` that begins at a column and a row. */
function addProduct(g: Graph, left: Linear, right: Tensor, target: Tensor, [column, row]: [number, number]): void {
  const part = g.view(target, [left.outputs, right.rows], { offset: row * target.nb[1] + column * 4 });
  g.run(g.addInplace(part, left.apply(g, right)));
}

/** The blocks of columns that one product takes. */
function blocksOf(columns: number): { from: number; size: number }[] {
  return Array.from({ length: Math.ceil(columns / blockColumns) }, (_, i) => {
    const from = i * blockColumns;
    return { from, size: Math.min(blockColumns, columns - from) };
  });
}

/** Copies rows of a computed f32 tensor behind the first `at` rows of `into`. */
function readRows(source: Tensor, from: number, count: number, into: Float32Array, at: number): void {
  const width = source.ne[0];
  source.read(into.subarray(at * width, (at + count) * width), from * width * 4);
}

/** λ is given relative to this, so that it means the same in every layer. */
export function meanDiagonal(gram: Gram): number {
  const n = gram.inputs;
  const cell = new Float32Array(1);
  let sum = 0;
  for (let i = 0; i < n; i++) sum += gram.xx.read(cell, i * (gram.xx.nb[1] + 4))[0]!;
  return sum / n;
}
