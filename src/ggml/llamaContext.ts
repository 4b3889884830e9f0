import { LoamError, StoppedError, throwIfStopped } from '../util/errors.js';
import { Mutex } from '../util/mutex.js';
import { AbortFlag } from './abortFlag.js';
import type { LlamaModel } from './llamaModel.js';
import {
  type AdapterHandle,
  type BatchStruct,
  callAsync,
  type LlamaContextHandle,
  native,
  viewMemory,
} from './native.js';

export interface LlamaContextOptions {
  /** Tokens of prompt and answer together. */
  contextLength: number;
  threads?: number;
  /** Tokens computed at once. */
  batchTokens?: number;
}

/** Values that llama_decode returns. */
const decodeStatus = { success: 0, noSlot: 1, aborted: 2 } as const;

/** One sequence of tokens being read and continued by libllama. */
export class LlamaContext implements Disposable {
  private readonly batch: BatchStruct;
  private readonly tokens: Int32Array;
  private readonly positions: Int32Array;
  private readonly wanted: Int8Array;
  private readonly abortFlag = new AbortFlag();
  private readonly mutex = new Mutex();
  private disposed = false;

  constructor(
    readonly model: LlamaModel,
    readonly handle: LlamaContextHandle,
    readonly batchTokens: number,
    private readonly onDispose: () => void,
  ) {
    const { llama } = native();
    this.batch = llama.batchInit(batchTokens, 0, 1);
    const int32 = (address: bigint) => new Int32Array(viewMemory(address, 4 * batchTokens));
    this.tokens = int32(this.batch.token);
    this.positions = int32(this.batch.pos);
    int32(this.batch.n_seq_id).fill(1);
    this.wanted = new Int8Array(viewMemory(this.batch.logits, batchTokens));
    // Sequence 0 for every token: llama_batch_init allocates one id a token behind the pointers.
    const ids = new BigUint64Array(viewMemory(this.batch.seq_id, 8 * batchTokens));
    for (const address of ids) new Int32Array(viewMemory(address, 4))[0] = 0;
    llama.setAbortCallback(handle, this.abortFlag.callback, this.abortFlag.data);
  }

  /** Sets the adapters in force; an empty list is the bare base. Clears what was read before. */
  setAdapters(adapters: readonly { adapter: AdapterHandle; scale: number }[]): void {
    const { llama } = native();
    const handles = new BigUint64Array(Math.max(1, adapters.length));
    const scales = new Float32Array(Math.max(1, adapters.length));
    adapters.forEach((entry, i) => {
      handles[i] = entry.adapter;
      scales[i] = entry.scale;
    });
    const result = llama.setAdapters(this.handle, handles, adapters.length, scales);
    if (result !== 0) throw new LoamError({ found: `llama.cpp refused to apply an adapter (${result})` });
    this.clear();
  }

  /** Forgets all tokens. */
  clear(): void {
    const { llama } = native();
    llama.memoryClear(llama.contextMemory(this.handle), false);
  }

  /** Forgets the tokens from position `from` on; where the model's memory cannot, forgets all and returns false. */
  truncate(from: number): boolean {
    const { llama } = native();
    if (llama.memorySequenceRemove(llama.contextMemory(this.handle), 0, from, -1)) return true;
    this.clear();
    return false;
  }

  /**
   * Reads tokens at positions `start`, `start + 1`, ... For each batch computed, `onLogits` gets the logits of those tokens whose
   * index satisfies `wants`: a view [count · vocabulary] valid during the call, with the tokens' indices.
   */
  async decode(
    tokens: Int32Array,
    start: number,
    options: {
      wants?: (index: number) => boolean;
      onLogits?: (logits: Float32Array, indices: number[]) => void;
      signal?: AbortSignal;
    } = {},
  ): Promise<void> {
    const { llama } = native();
    const { signal, wants = () => false } = options;
    const vocabulary = this.model.vocabulary.size;
    await this.mutex.run(async () => {
      this.abortFlag.set(false);
      const stop = () => this.abortFlag.set(true);
      signal?.addEventListener('abort', stop, { once: true });
      try {
        for (let from = 0; from < tokens.length; from += this.batchTokens) {
          throwIfStopped(signal);
          const n = Math.min(this.batchTokens, tokens.length - from);
          const indices: number[] = [];
          for (let i = 0; i < n; i++) {
            const index = from + i;
            this.tokens[i] = tokens[index]!;
            this.positions[i] = start + index;
            const want = wants(index);
            this.wanted[i] = want ? 1 : 0;
            if (want) indices.push(index);
          }
          const status = await callAsync(llama.decode, this.handle, { ...this.batch, n_tokens: n });
          if (status === decodeStatus.aborted) throw new StoppedError();
          if (status === decodeStatus.noSlot) {
            throw new LoamError({ found: 'the conversation is longer than the context', fix: 'start a new one' });
          }
          if (status !== decodeStatus.success)
            throw new LoamError({ found: `llama.cpp failed to compute (${status})` });
          if (indices.length > 0 && options.onLogits) {
            const address = llama.logits(this.handle);
            if (!address) throw new LoamError({ found: 'llama.cpp returned no logits' });
            options.onLogits(new Float32Array(viewMemory(address, 4 * vocabulary * indices.length)), indices);
          }
        }
      } finally {
        signal?.removeEventListener('abort', stop);
      }
    });
  }

  [Symbol.dispose](): void {
    if (this.disposed) return;
    this.disposed = true;
    const { llama } = native();
    llama.batchFree(this.batch);
    llama.contextFree(this.handle);
    this.onDispose();
  }
}
