import { setImmediate } from 'node:timers/promises';
import { throwIfStopped } from '../../base/errors.js';
import type { Stretch } from '../../engine/streamContext.js';
import { type GgufFile, openTensors } from '../../formats/gguf/Gguf.js';
import { type Batch, paddedTokens } from '../../model/batch.js';
import type { TakeRows, WantedRows } from '../../model/slices/readers.js';
import { type ReadingSizes, Slice, type SliceSource } from '../../model/slices/slice.js';
import type { LayerRange } from '../../model/slices/sliceFile.js';
import type { Survey } from '../../model/slices/survey.js';
import type { StreamWay } from '../../model/slices/ways.js';
import { HiddenStates, type WalkedSequence, Walker } from '../../model/walker.js';
import type { RidgeLab } from '../ridge/walk.js';

/**
 * A model as ridge walks it in slices: libllama computes its layers, one slice at a time over all examples. Only the weights of one slice
 * are held, as on our own graph only those of one layer.
 */

/** Tokens of a beginning that are computed at once. */
const chunkTokens = 512;
/** Sequences that are computed at once. */
const most = 64;

/** A slice that the walk has come to, with the linears in it that can be corrected, in the order in which they are found. */
export interface Place extends AsyncDisposable {
  readonly range: LayerRange;
  readonly slice: Slice;
  readonly ways: readonly StreamWay[];
  /** The sum with the stream that it hands on. */
  readonly end: number;
}

/** What stands before sequences and is the same for several: rows of the stream, [width] each. */
export type Beginning = Float32Array;

export class Ground implements AsyncDisposable {
  private constructor(
    readonly lab: RidgeLab,
    readonly survey: Survey,
    private readonly file: GgufFile,
    private readonly sizes: ReadingSizes,
  ) {}

  /** @param longest tokens of the longest beginning */
  static async open(
    lab: RidgeLab,
    survey: Survey,
    { longest, batches }: { longest: number; batches: readonly Batch[] },
  ): Promise<Ground> {
    const file = await openTensors(lab.model.gguf);
    const batchTokens = Math.max(chunkTokens, ...batches.map(({ lengths }) => lengths.reduce((sum, n) => sum + n, 0)));
    const members = Math.max(...batches.map(({ members }) => members.length));
    const sequences = 1 + Math.min(most, members);
    return new Ground(lab, survey, file, { contextLength: longest + batchTokens, batchTokens, sequences });
  }

  private get source(): SliceSource {
    const { gguf, engine } = this.lab.model;
    return { gguf, file: this.file, folder: engine.scratch, threads: engine.threads };
  }

  /** The places from the one that begins with a layer on, each open until the next is asked for. */
  async *places(first = 0): AsyncGenerator<Place, void, void> {
    for (const range of this.survey.ranges) {
      if (range.first < first) continue;
      throwIfStopped(this.lab.signal);
      await using slice = await Slice.open(this.source, range, this.sizes);
      const own = this.survey.ways.filter(({ layer }) => layer >= range.first && layer < range.end);
      // Sums are counted from the beginning of the slice.
      const ways = own.flatMap((way) => {
        const found = slice.graph.ways.find(({ layer, module }) => layer === way.layer && module === way.module);
        return found ? [found] : [];
      });
      ways.sort((a, b) => a.layer - b.layer || a.sum - b.sum);
      const dispose = async () => {};
      yield { range, slice, ways, end: slice.endOf(range.end - 1), [Symbol.asyncDispose]: dispose };
    }
  }

  /** The first layer of the slice that a layer is in. */
  firstOf(layer: number): number {
    return this.survey.ranges.find(({ end }) => layer < end)?.first ?? layer;
  }

  /** Rows that enter the first layer, for each token sequence: the embedding table's, with what the model makes of them. */
  async embed(sequences: readonly Int32Array[]): Promise<Float32Array[]> {
    await using whole = await Slice.whole(this.source, this.lab.model.hyper.layers, {
      contextLength: chunkTokens,
      batchTokens: chunkTokens,
      sequences: 1,
    });
    const { width, graph } = whole;
    const rows: Float32Array[] = [];
    for (const tokens of sequences) {
      throwIfStopped(this.lab.signal);
      const own = new Float32Array(tokens.length * width);
      for (let from = 0; from < tokens.length; from += chunkTokens) {
        whole.clear();
        const content = tokens.subarray(from, from + chunkTokens);
        whole.read([{ content, position: 0, sequence: 0 }], { entrance: graph.entrances - 1 }, (_, values) => {
          own.set(values, from * width);
        });
      }
      rows.push(own);
      await setImmediate();
    }
    return rows;
  }

  /** Sequences before the first layer, laid out as on our own graph. */
  async walker(sequences: readonly WalkedSequence[], groups: readonly Batch[], opening: Int32Array): Promise<Walker> {
    const { model } = this.lab;
    const tokensOf = (member: number) => sequences[member]!.tokens;
    const rows = await this.embed(groups.map((batch) => paddedTokens(batch, tokensOf, opening)));
    const hidden = await HiddenStates.create(
      rows.map(({ length }) => length),
      model.engine.scratch,
    );
    for (const [index, block] of rows.entries()) await hidden.write(index, block);
    return Walker.at(sequences, groups, opening, hidden);
  }

  /**
   * Reads a beginning into an empty slice, where what follows can be read behind it.
   * @param last sum behind which nothing is needed; default: the end of the slice
   * @returns what it becomes at the end of the slice, if that is what is computed
   */
  async begin({ slice, end }: Place, beginning: Beginning, last = end): Promise<Beginning> {
    const { width } = slice;
    const after = new Float32Array(beginning.length);
    slice.clear();
    for (let from = 0; from * width < beginning.length; from += chunkTokens) {
      throwIfStopped(this.lab.signal);
      const content = beginning.subarray(from * width, (from + chunkTokens) * width);
      slice.read([{ content, position: from, sequence: 0 }], { sums: new Set([end]), last }, (_, rows) => {
        after.set(rows, from * width);
      });
      this.lab.progress.add(content.length / width);
      await setImmediate();
    }
    return after;
  }

  /**
   * Reads one batch behind a beginning that has been read. `take` gets rows of all its tokens, laid out as the batch is, padding as it was.
   * @param block rows that enter the slice, opening behind them
   * @param before tokens of the beginning
   */
  async read(
    { slice }: Place,
    { batch, block, before }: { batch: Batch; block: Float32Array; before: number },
    wanted: WantedRows,
    take: (what: Parameters<TakeRows>[0], laidOut: Float32Array, width: number) => void,
  ): Promise<void> {
    const { signal, progress } = this.lab;
    const { width } = slice;
    const rooms = new Map<string, { what: Parameters<TakeRows>[0]; rows: Float32Array; width: number }>();
    const step = slice.oneByOne ? 1 : most;
    for (let from = 0; from < batch.members.length; from += step) {
      throwIfStopped(signal);
      const places = batch.members.map((_, i) => i).slice(from, from + step);
      const stretches = places.map((place, i): Stretch => {
        const start = place * batch.length * width;
        return {
          content: block.subarray(start, start + batch.lengths[place]! * width),
          position: before,
          sequence: i + 1,
        };
      });
      const tokens = places.reduce((sum, place) => sum + batch.lengths[place]!, 0);
      if (before > 0) slice.share(places.length);
      slice.read(stretches, wanted, (what, rows) => {
        const w = rows.length / tokens;
        const key = JSON.stringify(what);
        const room = rooms.get(key) ?? {
          what,
          rows: new Float32Array(batch.length * batch.members.length * w),
          width: w,
        };
        rooms.set(key, room);
        let at = 0;
        for (const place of places) {
          const length = batch.lengths[place]! * w;
          room.rows.set(rows.subarray(at, at + length), place * batch.length * w);
          at += length;
        }
      });
      slice.drop(places.length);
      progress.add(tokens);
      await setImmediate();
    }
    for (const { what, rows, width: w } of rooms.values()) take(what, rows, w);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.file[Symbol.asyncDispose]();
  }
}

/** Rows of some tokens of a batch that is laid out. */
export function pickRows(laidOut: Float32Array, width: number, tokens: Int32Array): Float32Array {
  const rows = new Float32Array(tokens.length * width);
  tokens.forEach((token, i) => {
    rows.set(laidOut.subarray(token * width, (token + 1) * width), i * width);
  });
  return rows;
}
