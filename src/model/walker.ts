import type { Graph } from '../ggml/graph.js';
import type { Tensor } from '../ggml/tensor.js';
import type { Workspace } from '../ggml/workspace.js';
import { type Batch, groupSequences, paddedTokens, tokenIndex } from './batch.js';
import { HiddenStates } from './hiddenStates.js';
import type { Model } from './model.js';

/** A sequence that walks through the model, with the positions whose activations matter. */
export interface WalkedSequence {
  tokens: Int32Array;
  /** Positions (of the predicting token) to look at. */
  positions: Int32Array;
}

/** One batch of a walker. */
export interface WalkerBatch {
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

  private constructor(
    private readonly model: Model,
    private readonly sequences: readonly WalkedSequence[],
    groups: readonly Batch[],
    /** Tokens that every sequence begins with and that are not part of it; they lie behind the sequences of each batch. */
    readonly opening: number,
    readonly hidden: HiddenStates,
  ) {
    this.batches = groups.map((batch, index) => ({
      index,
      batch,
      tokens: walkedTokens(batch, opening),
      rows: rowsOf(batch, sequences),
    }));
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
    const sizes = groups.map((batch) => walkedTokens(batch, opening.length) * model.hyper.embedding);
    const walker = new Walker(model, sequences, groups, opening.length, await HiddenStates.create(sizes));
    const { hidden } = walker;
    const texts = sequences.map((s) => s.tokens);
    for (const { index, batch } of walker.batches) {
      const tokens = Int32Array.from([...paddedTokens(batch, texts), ...opening]);
      const g = workspace.begin();
      const x = g.output(model.embed(g, g.input('i32', [tokens.length], tokens)));
      await g.compute(options.signal);
      await hidden.write(index, x.read(await walker.room(index)));
    }
    return walker;
  }

  /** Sequences that have walked already: `hidden` holds their residual streams, one block a group, and is disposed with the walker. */
  static at(
    model: Model,
    sequences: readonly WalkedSequence[],
    groups: readonly Batch[],
    opening: number,
    hidden: HiddenStates,
  ): Walker {
    return new Walker(model, sequences, groups, opening, hidden);
  }

  /** Memory for one batch's activations: the store's own where it is in memory. */
  async room(index: number): Promise<Float32Array> {
    if (this.hidden.inMemory) return this.hidden.read(index);
    return new Float32Array(this.hidden.sizes[index]!);
  }

  /** Declares a batch's residual stream (from `store`), sequences before opening, and its rows as inputs of a graph. */
  async begin(
    workspace: Workspace,
    index: number,
    store: HiddenStates = this.hidden,
  ): Promise<{ g: Graph; x: Tensor; rows: Tensor | undefined }> {
    const { tokens, rows } = this.batches[index]!;
    const hidden = await store.read(index);
    const g = workspace.begin();
    const x = g.input('f32', [this.model.hyper.embedding, tokens], hidden);
    return {
      g,
      x,
      rows: rows.length > 0 ? g.input('i32', [rows.length], rows) : undefined,
    };
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

function walkedTokens({ length, members }: Batch, opening: number): number {
  return length * members.length + opening;
}

function rowsOf(batch: Batch, sequences: readonly WalkedSequence[]): Int32Array {
  const rows: number[] = [];
  batch.members.forEach((member, row) => {
    for (const position of sequences[member]!.positions) rows.push(tokenIndex(batch, row, position));
  });
  return Int32Array.from(rows);
}
