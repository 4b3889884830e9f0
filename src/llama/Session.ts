import { LoamError, throwIfStopped } from '../base/errors.js';
import { sharedLength } from '../base/format.js';
import type { HeldAnswer } from '../engine/HeldAnswer.js';
import { areUsable, type LlamaContext, LlamaModel } from '../engine/llama.js';
import type { AdapterHandle } from '../engine/llamaBindings.js';
import { Sampler, type SamplerSettings } from '../engine/sampler.js';
import type { Vocabulary } from '../engine/vocabulary.js';
import { type Asked, layOut, openingOf } from './together.js';

interface SessionOptions {
  /** Tokens that are held at most: those read and those written after them. */
  contextLength: number;
  threads?: number;
  /** Leaves the weights in the mapped file (see `LlamaModel.load`): the least memory, somewhat slower. */
  inPlace?: boolean;
  /** How many sequences `readAll` and `embed` read at once, where the context has room for them (default 1). */
  sequences?: number;
}

/** An adapter that is on, and by what its correction is multiplied. */
interface Worn {
  adapter: AdapterHandle;
  scale: number;
}

/**
 * A model in stock libllama that reads one sequence of tokens at a time, with an adapter or without, and can write on. Chat, measuring
 * and probing all work with it. The keys and values of what was read stay, so that of the next sequence only what differs is read.
 */
export class Session implements Disposable {
  /** The tokens whose keys and values the context holds. */
  private held: number[] = [];
  /** Where the last read began and ended. */
  private last = { start: 0, end: -1 };
  private worn: readonly Worn[] = [];
  /** Whether the logits of the last token are numbers. */
  private canDraw = true;

  private constructor(
    private readonly model: LlamaModel,
    private readonly context: LlamaContext,
    readonly contextLength: number,
  ) {}

  /** Loads a model file, which must have passed `readGguf`. */
  static async open(modelPath: string, options: SessionOptions): Promise<Session> {
    const model = await LlamaModel.load(modelPath, { inPlace: options.inPlace });
    try {
      return new Session(model, await model.context(options), options.contextLength);
    } catch (error) {
      model[Symbol.dispose]();
      throw error;
    }
  }

  get vocabulary(): Vocabulary {
    return this.model.vocabulary;
  }

  /** Values of a hidden state. */
  get width(): number {
    return this.model.width;
  }

  /** Loads an adapter file, which must have passed `openAdapter`, without putting it on. It is freed with the session at the latest. */
  async loadAdapter(path: string): Promise<AdapterHandle> {
    return await this.model.loadAdapter(path);
  }

  freeAdapter(adapter: AdapterHandle): void {
    if (this.worn.some((one) => one.adapter === adapter)) this.wear(undefined);
    this.model.freeAdapter(adapter);
  }

  /** Computes from now on with this adapter, its correction times `scale`; undefined: the base model alone. A change forgets what is held. */
  wear(adapter: AdapterHandle | undefined, scale = 1): void {
    this.wearAll(adapter === undefined ? [] : [{ adapter, scale }]);
  }

  /** The same with several adapters, whose corrections add up. */
  wearAll(adapters: readonly Worn[]): void {
    const { worn } = this;
    const isSame = (one: Worn, i: number) => one.adapter === worn[i]?.adapter && one.scale === worn[i]?.scale;
    if (adapters.length === worn.length && adapters.every(isSame)) return;
    this.context.setAdapters(adapters);
    this.worn = [...adapters];
    this.held = [];
  }

  /** Reads the next sequence from its first token on. */
  forget(): void {
    this.context.clear();
    this.held = [];
  }

  /**
   * Reads a sequence: all of its tokens but those that the one before began with too. A token whose logits are wanted is read again.
   * @param wanted positions, ascending, whose logits [vocabulary] go to `onLogits`, in this order; a view valid during the call
   */
  async read(
    tokens: Int32Array,
    wanted: readonly number[],
    { onLogits, signal }: { onLogits?: (logits: Float32Array, position: number) => void; signal?: AbortSignal } = {},
  ): Promise<void> {
    const shared = sharedLength(this.held, tokens);
    // The same sequence once more is read in the same pieces: in others its last bits, and so its likeliest tokens, may be others.
    const again = shared === tokens.length && this.last.end === shared ? this.last.start : shared;
    const kept = Math.min(again, wanted[0] ?? tokens.length);
    const start = this.context.truncate(kept) ? kept : 0;
    this.last = { start, end: tokens.length };
    // Until the read has succeeded nothing is known of what the context holds beyond the shared part.
    this.held.length = start;
    const positions = new Set(wanted);
    const width = this.vocabulary.size;
    await this.context.decode(tokens.subarray(start), start, {
      wants: (index) => positions.has(start + index),
      onLogits: (rows, indices) => {
        indices.forEach((index, row) => {
          onLogits?.(rows.subarray(row * width, (row + 1) * width), start + index);
        });
        this.canDraw = areUsable(rows.subarray(-width));
      },
      signal,
    });
    this.held = [...tokens];
  }

  /**
   * Reads sequences, each by itself, as many at once as there is room for; what all begin with is read once. Nothing is held afterwards.
   * @param onLogits gets the logits [vocabulary] at a position that is wanted, a view valid during the call, with the sequences that
   * want them, all alike until there: for each sequence in the order of its positions
   * @param onRead told how many more have been read
   */
  async readAll(
    list: readonly Asked[],
    onLogits: (logits: Float32Array, members: readonly number[], position: number) => void,
    { signal, onRead }: { signal?: AbortSignal; onRead?: (count: number) => void } = {},
  ): Promise<void> {
    this.forget();
    const { context, contextLength } = this;
    const { sequences } = context;
    const opening = openingOf(list);
    const width = this.vocabulary.size;
    const everyone = Array.from({ length: sequences }, (_, i) => i);
    const head = Array.from({ length: opening }, (_, position) => ({
      token: list[0]!.tokens[position]!,
      position,
      sequences: everyone,
    }));
    let held = false;
    for (const { members, rows, wanted } of layOut(list, opening, { tokens: contextLength - opening, sequences })) {
      throwIfStopped(signal);
      if (!held && opening > 0) await context.decodeRows(head, { signal });
      await context.decodeRows(rows, {
        wants: (index) => wanted.has(index),
        onLogits: (logits, indices) => {
          indices.forEach((index, i) => {
            onLogits(logits.subarray(i * width, (i + 1) * width), wanted.get(index)!, rows[index]!.position);
          });
        },
        signal,
      });
      held = context.truncate(opening);
      onRead?.(members.length);
    }
    this.forget();
  }

  /**
   * The mean of each sequence's hidden states behind the last norm, of length 1 (cosines are dot products): what llama.cpp's server gives as
   * the embedding of a model that was made to write, with `--pooling mean`. Nothing is held afterwards.
   * @param list each of at least one token
   * @returns each [width]
   */
  async embed(
    list: readonly Int32Array[],
    { signal, onRead }: { signal?: AbortSignal; onRead?: (count: number) => void } = {},
  ): Promise<Float32Array[]> {
    this.held = [];
    const { width } = this.model;
    const { sequences } = this.context;
    const sums = list.map(() => new Float64Array(width));
    const asked = list.map((tokens) => ({ tokens, wanted: Array.from(tokens.keys()) }));
    for (const { members, rows, wanted } of layOut(asked, 0, { tokens: this.contextLength, sequences })) {
      throwIfStopped(signal);
      await this.context.readStates(
        rows,
        (states, indices) => {
          indices.forEach((index, at) => {
            const state = states.subarray(at * width, (at + 1) * width);
            for (const member of wanted.get(index)!) {
              const sum = sums[member]!;
              for (let i = 0; i < width; i++) sum[i]! += state[i]!;
            }
          });
        },
        signal,
      );
      onRead?.(members.length);
    }
    return sums.map((sum) => {
      const length = Math.hypot(...sum);
      this.canDraw = Number.isFinite(length) && length > 0;
      this.requireNumbers();
      return Float32Array.from(sum, (x) => x / length);
    });
  }

  /**
   * Draws tokens that follow the sequence, whose last token's logits must have been wanted, until the model ends its turn, `most` are
   * drawn, or the context is full. An answer that is held to a grammar is whole by then, and ends where that allows for no more.
   */
  async *write(
    sampling: SamplerSettings,
    most: number,
    { signal, held }: { signal?: AbortSignal; held?: HeldAnswer } = {},
  ): AsyncGenerator<number, void, undefined> {
    using sampler = new Sampler(sampling, this.vocabulary, held);
    const room = Math.min(most, this.contextLength - this.held.length);
    for (let drawn = 1; drawn <= room; drawn++) {
      throwIfStopped(signal);
      this.requireNumbers();
      const token = sampler.draw(this.context, room - drawn + 1);
      if (this.vocabulary.endsGeneration(token)) return;
      yield token;
      if (drawn === room) return;
      const onLogits = (row: Float32Array) => {
        this.canDraw = areUsable(row);
      };
      await this.context.decode(Int32Array.of(token), this.held.length, { wants: () => true, onLogits, signal });
      this.held.push(token);
    }
  }

  /** Logits [vocabulary] at the place of the token that `write` has just yielded, until it goes on. */
  get logits(): Float32Array {
    return this.context.lastLogits;
  }

  /** Nothing can be drawn from values that are no numbers: the answer would be empty, or any. */
  private requireNumbers(): void {
    if (this.canDraw) return;
    const adapted = this.worn.length > 0;
    throw new LoamError({
      code: 'damaged',
      found: `the ${adapted ? 'model with this adapter' : 'model'} predicts values that are not finite numbers`,
      where: this.model.path,
      fix: adapted ? 'use another adapter' : 'fetch the model again',
    });
  }

  [Symbol.dispose](): void {
    this.model[Symbol.dispose]();
  }
}
