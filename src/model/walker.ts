import { SpillFile } from '../base/spillFile.js';
import type { Graph, Workspace } from '../engine/graph.js';
import type { Tensor } from '../engine/tensor.js';
import { type Batch, batchTokens, groupSequences, paddedTokens, tokenIndex } from './batch.js';
import { streamWidth } from './hyperparameters.js';
import type { Model } from './model.js';

/** Bytes of activations kept in memory by all stores of this process together; a store that would exceed it uses a file. */
const memoryBudget = 192 << 20;
let held = 0;

/** Activations of many batches between two layers: one f32 block per batch. Kept in memory up to a budget, then in a `SpillFile`. */
export class HiddenStates implements AsyncDisposable {
  /** Bytes of all blocks. */
  readonly bytes: number;
  private memory: Float32Array[] | undefined;

  private constructor(
    /** f32 values of each batch. */
    readonly sizes: readonly number[],
    private readonly spill: SpillFile | undefined,
  ) {
    this.bytes = bytesOf(sizes);
    if (spill) return;
    this.memory = sizes.map((size) => new Float32Array(size));
    held += this.bytes;
  }

  /** Room for batches of these sizes, in `folder` or in memory: there if no more than `budget` bytes are held then by all stores. */
  static async create(sizes: readonly number[], folder: string, budget = memoryBudget): Promise<HiddenStates> {
    const fits = held + bytesOf(sizes) <= budget;
    const blocks = sizes.map((size) => 4 * size);
    return new HiddenStates(sizes, fits ? undefined : await SpillFile.create(blocks, folder));
  }

  get inMemory(): boolean {
    return this.memory !== undefined;
  }

  /** The block of a batch. In memory it is the block itself, not a copy. */
  async read(batch: number): Promise<Float32Array> {
    if (this.memory) return this.memory[batch]!;
    const block = new Float32Array(this.sizes[batch]!);
    await this.spill!.read(batch, block);
    return block;
  }

  async write(batch: number, block: Float32Array): Promise<void> {
    if (block.length !== this.sizes[batch]) throw new RangeError(`${block.length} values for batch ${batch}`);
    if (!this.memory) await this.spill!.write(batch, block);
    else if (block !== this.memory[batch]) this.memory[batch]!.set(block);
  }

  /** Copies every batch into another store of the same sizes. */
  async copyTo(other: HiddenStates): Promise<void> {
    for (let batch = 0; batch < this.sizes.length; batch++) await other.write(batch, await this.read(batch));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.memory) held -= this.bytes;
    this.memory = undefined;
    await this.spill?.[Symbol.asyncDispose]();
  }
}

/** Where stores of so many bytes would lie, made one after the other while others hold `before` bytes in memory. */
export function placeStores(bytes: readonly number[], before = 0): { memory: number; disk: number } {
  let [memory, disk] = [0, 0];
  for (const store of bytes) {
    if (before + memory + store <= memoryBudget) memory += store;
    else disk += store;
  }
  return { memory, disk };
}

const bytesOf = (sizes: readonly number[]) => 4 * sizes.reduce((sum, n) => sum + n, 0);

/** A sequence that walks through the model, with the positions whose activations matter. */
export interface WalkedSequence {
  tokens: Int32Array;
  /** Positions (of the predicting token) to look at. */
  positions: Int32Array;
}

/** One batch of a walker. */
interface WalkerBatch {
  index: number;
  batch: Batch;
  /** Tokens that walk, padding and opening included. */
  tokens: number;
  /** i32: tokens of the padded batch to look at, member by member. */
  rows: Int32Array;
}

/**
 * Sequences on their way through the layers: their residual streams between two layers, batch by batch. All layers are walked by
 * every batch before the next layer's weights are loaded.
 */
export class Walker implements AsyncDisposable {
  readonly batches: readonly WalkerBatch[];
  /** Tokens of batches, made once. */
  private readonly laidOut = new Map<number, Int32Array>();

  private constructor(
    private readonly sequences: readonly WalkedSequence[],
    groups: readonly Batch[],
    /** What every sequence begins with and is not part of it; it lies behind the sequences of each batch. */
    readonly openingTokens: Int32Array,
    readonly hidden: HiddenStates,
  ) {
    this.batches = groups.map((batch, index) => ({
      index,
      batch,
      tokens: batchTokens(batch, this.opening),
      rows: rowsOf(batch, sequences),
    }));
  }

  /** Tokens of the opening. */
  get opening(): number {
    return this.openingTokens.length;
  }

  /**
   * Groups the sequences (or takes `groups`) and looks their tokens up in the embedding table.
   * @param options.opening tokens that stand before every sequence (`sharedOpening`)
   */
  static async create(
    model: Model,
    workspace: Workspace,
    sequences: readonly WalkedSequence[],
    options: { groups?: readonly Batch[]; batchTokens?: number; opening?: Int32Array; signal?: AbortSignal } = {},
  ): Promise<Walker> {
    const groups =
      options.groups ??
      groupSequences(
        sequences.map((s) => s.tokens.length),
        options.batchTokens,
      );
    const { opening = new Int32Array(0) } = options;
    const sizes = groups.map((batch) => batchTokens(batch, opening.length) * streamWidth(model.hyper));
    const walker = new Walker(sequences, groups, opening, await HiddenStates.create(sizes, model.engine.scratch));
    const { hidden } = walker;
    for (const { index } of walker.batches) {
      const g = workspace.begin();
      const x = g.output(model.embed(g, walker.tokens(g, index)));
      await g.compute(options.signal);
      await hidden.write(index, x.read(await walker.room(index)));
    }
    return walker;
  }

  /** Sequences that have walked already: `hidden` holds their residual streams, one block a group, and is disposed with the walker. */
  static at(
    sequences: readonly WalkedSequence[],
    groups: readonly Batch[],
    opening: Int32Array,
    hidden: HiddenStates,
  ): Walker {
    return new Walker(sequences, groups, opening, hidden);
  }

  /** Memory for one batch's activations: the store's own where it is in memory. */
  async room(index: number): Promise<Float32Array> {
    if (this.hidden.inMemory) return this.hidden.read(index);
    return new Float32Array(this.hidden.sizes[index]!);
  }

  /** Declares a batch's residual stream (from `store`), sequences before opening, its tokens and its rows as inputs of a graph. */
  async begin(
    workspace: Workspace,
    index: number,
    store: HiddenStates = this.hidden,
  ): Promise<{ g: Graph; x: Tensor; tokens: Tensor; rows: Tensor | undefined }> {
    const { tokens, rows } = this.batches[index]!;
    const hidden = await store.read(index);
    const g = workspace.begin();
    const x = g.input('f32', [hidden.length / tokens, tokens], hidden);
    return {
      g,
      x,
      tokens: this.tokens(g, index),
      rows: rows.length > 0 ? g.input('i32', [rows.length], rows) : undefined,
    };
  }

  /** A batch's tokens, sequences before opening, as an input of a graph: i32 [tokens]. */
  private tokens(g: Graph, index: number): Tensor {
    let all = this.laidOut.get(index);
    if (!all) {
      const { batch } = this.batches[index]!;
      all = paddedTokens(batch, (member) => this.sequences[member]!.tokens, this.openingTokens);
      this.laidOut.set(index, all);
    }
    return g.input('i32', [all.length], all);
  }

  /** Tokens of all batches, padding and openings included. */
  get paddedTokens(): number {
    return this.batches.reduce((sum, { tokens }) => sum + tokens, 0);
  }

  /** Sequences of a batch, in its order. */
  members(index: number): WalkedSequence[] {
    return this.batches[index]!.batch.members.map((i) => this.sequences[i]!);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.hidden[Symbol.asyncDispose]();
  }
}

function rowsOf(batch: Batch, sequences: readonly WalkedSequence[]): Int32Array {
  const rows: number[] = [];
  batch.members.forEach((member, row) => {
    for (const position of sequences[member]!.positions) rows.push(tokenIndex(batch, row, position));
  });
  return Int32Array.from(rows);
}
