import { LoamError, StoppedError, throwIfStopped } from '../base/errors.js';
import { Mutex } from '../base/lock.js';
import { defaultThreads } from './engine.js';
import { callAsync, viewMemory } from './ffi.js';
import { AbortFlag } from './graph.js';
import type { AdapterHandle, LlamaContextHandle, ModelHandle } from './llamaBindings.js';
import { type Native, native } from './native.js';
import { Vocabulary } from './vocabulary.js';

interface LlamaContextOptions {
  /** Tokens of prompt and answer together. */
  contextLength: number;
  threads?: number;
  /** Tokens computed at once. */
  batchTokens?: number;
}

/** libllama: a model, its contexts and adapters. */

/** libllama gives its reasons in its log alone. */
const failed = (found: string, where?: string) =>
  new LoamError({ code: 'failed', found, where, fix: 'run again with LOAM_NATIVE_LOG=1 to see the reason' });

/** Values that llama_decode returns. */
const decodeStatus = { success: 0, noSlot: 1, aborted: 2 } as const;

/** Whether a token can be drawn from logits: none is NaN, and the best is a number. A model may rule tokens out by -∞. */
export function areUsable(logits: Float32Array): boolean {
  let best = Number.NEGATIVE_INFINITY;
  for (const x of logits) {
    if (x > best) best = x;
    else if (Number.isNaN(x)) return false;
  }
  return Number.isFinite(best);
}

/** Bytes of logits that libllama may keep beside hidden states. */
const STATES_BYTES = 64 << 20;

/** One sequence of tokens being read and continued by libllama. */
export class LlamaContext implements Disposable {
  private readonly batch: ReturnType<Native['llama']['batchInit']>;
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
    // Sequence 0 for every token: llama_batch_init allocates one id per token behind the pointers.
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
    if (result !== 0) throw failed(`llama.cpp refused to apply an adapter (${result})`);
    this.clear();
  }

  /** Forgets all tokens. */
  clear(): void {
    const { llama } = native();
    llama.memoryClear(llama.contextMemory(this.handle), false);
  }

  /** Forgets the tokens from position `from` on; if the model's memory cannot, forgets all and returns false. */
  truncate(from: number): boolean {
    const { llama } = native();
    if (llama.memorySequenceRemove(llama.contextMemory(this.handle), 0, from, -1)) return true;
    this.clear();
    return false;
  }

  /** Logits [vocabulary] of the last token read whose logits were wanted: a view valid until the next one is read. */
  get lastLogits(): Float32Array {
    const address = native().llama.logitsOf(this.handle, -1);
    if (!address) throw failed('llama.cpp returned no logits');
    return new Float32Array(viewMemory(address, 4 * this.model.vocabulary.size));
  }

  /**
   * Reads a sequence by itself and forgets it. `onStates` gets the hidden states of its tokens behind the last norm, batch by batch in
   * order: a view [tokens of the batch · width] valid during the call.
   */
  async readStates(tokens: Int32Array, onStates: (states: Float32Array) => void, signal?: AbortSignal): Promise<void> {
    const { llama } = native();
    const { width, vocabulary } = this.model;
    // libllama keeps the logits of all these tokens as well.
    const most = Math.max(1, Math.min(this.batchTokens, Math.floor(STATES_BYTES / (4 * vocabulary.size))));
    this.clear();
    llama.setEmbeddings(this.handle, true);
    try {
      for (let from = 0; from < tokens.length; from += most) {
        const piece = tokens.subarray(from, from + most);
        await this.decode(piece, from, { wants: () => true, signal });
        const address = llama.embeddings(this.handle);
        if (!address) throw failed('llama.cpp returned no hidden states');
        onStates(new Float32Array(viewMemory(address, 4 * width * piece.length)));
      }
    } finally {
      llama.setEmbeddings(this.handle, false);
      this.clear();
    }
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
    const run = async () => {
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
          const found = 'the conversation is longer than the context';
          throw new LoamError({ code: 'too-large', found, fix: 'start a new one' });
        }
        if (status !== decodeStatus.success) throw failed(`llama.cpp failed to compute (${status})`);
        if (indices.length > 0 && options.onLogits) {
          const address = llama.logits(this.handle);
          if (!address) throw failed('llama.cpp returned no logits');
          options.onLogits(new Float32Array(viewMemory(address, 4 * vocabulary * indices.length)), indices);
        }
      }
    };
    await this.mutex.run(() => this.abortFlag.during(signal, run));
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

/** Values of `enum llama_load_mode`. */
const loadModes = { auto: -1, none: 0, mmap: 1 } as const;

interface LlamaModelOptions {
  /** Loads the tokeniser only. */
  vocabularyOnly?: boolean;
  /** Layers on the GPU, if a GPU backend is loaded; default: all with LOAM_GPU, else none. */
  gpuLayers?: number;
  /**
   * Uses the weights in place in the mapped file instead of copying them into a faster layout (default false): slower for some types, but
   * the file's pages are the only memory, and the system can take them back.
   */
  inPlace?: boolean;
}

/**
 * A model in stock libllama: the tokeniser, the yardstick of the effect gate, and the engine of chat. The file must have passed
 * Loam's own validator (`readGguf`) before.
 */
export class LlamaModel implements Disposable {
  readonly vocabulary: Vocabulary;
  /** Values of a hidden state. */
  readonly width: number;
  private readonly contexts = new Set<LlamaContext>();
  private readonly adapters: AdapterHandle[] = [];
  private disposed = false;

  private constructor(
    readonly handle: ModelHandle,
    readonly path: string,
  ) {
    const { llama } = native();
    this.width = llama.modelWidth(handle);
    this.vocabulary = new Vocabulary(llama.modelVocab(handle), (key) => {
      const room = Buffer.alloc(64);
      const length = llama.modelText(handle, key, room, room.length);
      return length < 0 ? '' : room.toString('utf8', 0, Math.min(length, room.length - 1));
    });
  }

  static async load(path: string, options: LlamaModelOptions = {}): Promise<LlamaModel> {
    const { llama } = native();
    const params = llama.modelDefaultParams();
    params.vocab_only = options.vocabularyOnly ?? false;
    params.n_gpu_layers = options.gpuLayers ?? (process.env.LOAM_GPU ? -1 : 0);
    params.load_mode = loadModes.mmap;
    if (options.inPlace) params.use_extra_bufts = false;
    const handle = await callAsync(llama.modelLoad, path, params);
    if (!handle) throw failed('llama.cpp refused this model', path);
    return new LlamaModel(handle, path);
  }

  /** Loads a LoRA adapter file, which must have passed `openAdapter`. Freed with the model. */
  async loadAdapter(path: string): Promise<AdapterHandle> {
    const adapter = await callAsync(native().llama.adapterLoad, this.handle, path);
    if (!adapter) throw failed('llama.cpp refused this adapter', path);
    this.adapters.push(adapter);
    return adapter;
  }

  /** Frees an adapter before the model; no context may be using it. */
  freeAdapter(adapter: AdapterHandle): void {
    const at = this.adapters.indexOf(adapter);
    if (at < 0) return;
    this.adapters.splice(at, 1);
    native().llama.adapterFree(adapter);
  }

  async context(options: LlamaContextOptions): Promise<LlamaContext> {
    const { llama } = native();
    const threads = options.threads ?? defaultThreads();
    const params = llama.contextDefaultParams();
    params.n_ctx = options.contextLength;
    params.n_batch = Math.min(options.contextLength, 2048);
    params.n_ubatch = Math.min(options.contextLength, options.batchTokens ?? 512);
    params.n_threads = threads;
    params.n_threads_batch = threads;
    const handle = await callAsync(llama.contextNew, this.handle, params);
    if (!handle) {
      throw new LoamError({
        code: 'out-of-memory',
        found: `no memory for a context of ${options.contextLength} tokens`,
        where: this.path,
        fix: 'close other programs, or use a smaller model',
      });
    }
    const context = new LlamaContext(this, handle, params.n_batch, () => this.contexts.delete(context));
    this.contexts.add(context);
    return context;
  }

  [Symbol.dispose](): void {
    if (this.disposed) return;
    this.disposed = true;
    for (const context of [...this.contexts]) context[Symbol.dispose]();
    const { llama } = native();
    for (const adapter of this.adapters.splice(0)) llama.adapterFree(adapter);
    llama.modelFree(this.handle);
  }
}
