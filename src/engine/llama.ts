import { LoamError, StoppedError, throwIfStopped } from '../base/errors.js';
import { Mutex } from '../base/lock.js';
import { callAsync, viewMemory } from './ffi.js';
import { AbortFlag } from './graph.js';
import type { AdapterHandle, LlamaContextHandle, ModelHandle } from './llamaBindings.js';
import { type Native, native } from './native.js';
import { defaultThreads } from './threads.js';
import { Vocabulary } from './vocabulary.js';

interface LlamaContextOptions {
  /** Tokens of prompt and answer together. */
  contextLength: number;
  threads?: number;
  /** Tokens computed at once. */
  batchTokens?: number;
  /** Sequences that are read side by side (default 1); they share the context's tokens. */
  sequences?: number;
}

/** A token that is read, and the sequences (from 0) in which it stands at its position. */
export interface Row {
  token: number;
  position: number;
  sequences: readonly number[];
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

/** Bytes of logits that libllama may keep where many are asked for at once, or beside hidden states. Four times as many save no time. */
export const outputBytes = 8 << 20;

/** Tokens whose logits are kept at once, of a vocabulary of this size. */
function outputsAtOnce(vocabulary: number): number {
  return Math.max(1, Math.floor(outputBytes / (4 * vocabulary)));
}

interface DecodeOptions {
  wants?: (index: number) => boolean;
  onLogits?: (logits: Float32Array, indices: number[]) => void;
  signal?: AbortSignal;
}

const ONLY = [0] as const;

/** An adapter in force, and its strength. */
interface Worn {
  adapter: AdapterHandle;
  scale: number;
}

/** Sets a context's adapters; what it has read was read with those before. */
export function applyAdapters(context: LlamaContextHandle, adapters: readonly Worn[]): void {
  const handles = new BigUint64Array(Math.max(1, adapters.length));
  const scales = new Float32Array(Math.max(1, adapters.length));
  adapters.forEach((entry, i) => {
    handles[i] = entry.adapter;
    scales[i] = entry.scale;
  });
  const result = native().llama.setAdapters(context, handles, adapters.length, scales);
  if (result !== 0) throw failed(`llama.cpp refused to apply an adapter (${result})`);
}

/** @throws LoamError for want of memory */
export async function openContext(
  { handle, path }: Pick<LlamaModel, 'handle' | 'path'>,
  params: ReturnType<Native['llama']['contextDefaultParams']>,
): Promise<LlamaContextHandle> {
  const context = await callAsync(native().llama.contextNew, handle, params);
  if (context) return context;
  throw new LoamError({
    code: 'out-of-memory',
    found: `no memory for a context of ${params.n_ctx} tokens`,
    where: path,
    fix: 'close other programs, or use a smaller model',
  });
}

/** Tokens being read by libllama: of one sequence, which can be continued, or of several side by side. */
export class LlamaContext implements Disposable {
  private readonly batch: ReturnType<Native['llama']['batchInit']>;
  private readonly tokens: Int32Array;
  private readonly positions: Int32Array;
  private readonly wanted: Int8Array;
  private readonly counts: Int32Array;
  /** Of each token of a batch the ids of its sequences. */
  private readonly ids: Int32Array[];
  private readonly abortFlag = new AbortFlag();
  private readonly mutex = new Mutex();
  private disposed = false;

  constructor(
    readonly model: LlamaModel,
    readonly handle: LlamaContextHandle,
    readonly batchTokens: number,
    /** How many sequences it can read side by side. */
    readonly sequences: number,
    private readonly onDispose: () => void,
  ) {
    const { llama } = native();
    this.batch = llama.batchInit(batchTokens, 0, sequences);
    const int32 = (address: bigint) => new Int32Array(viewMemory(address, 4 * batchTokens));
    this.tokens = int32(this.batch.token);
    this.positions = int32(this.batch.pos);
    this.counts = int32(this.batch.n_seq_id);
    this.wanted = new Int8Array(viewMemory(this.batch.logits, batchTokens));
    const addresses = new BigUint64Array(viewMemory(this.batch.seq_id, 8 * batchTokens));
    this.ids = Array.from(addresses, (address) => new Int32Array(viewMemory(address, 4 * sequences)));
    llama.setAbortCallback(handle, this.abortFlag.callback, this.abortFlag.data);
  }

  /** Sets the adapters in force; an empty list is the bare base. Clears what was read before. */
  setAdapters(adapters: readonly Worn[]): void {
    applyAdapters(this.handle, adapters);
    this.clear();
  }

  /** Forgets all tokens. */
  clear(): void {
    const { llama } = native();
    llama.memoryClear(llama.contextMemory(this.handle), false);
  }

  /** Forgets the tokens of all sequences from position `from` on; if the model's memory cannot, forgets all and returns false. */
  truncate(from: number): boolean {
    const { llama } = native();
    if (llama.memorySequenceRemove(llama.contextMemory(this.handle), -1, from, -1)) return true;
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
   * Reads rows and forgets them. `onStates` gets their hidden states behind the last norm, batch by batch: a view [rows of the batch ·
   * width] valid during the call, with the rows' indices.
   */
  async readStates(
    rows: readonly Row[],
    onStates: (states: Float32Array, indices: number[]) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    const { llama } = native();
    const { width } = this.model;
    this.clear();
    llama.setEmbeddings(this.handle, true);
    try {
      // libllama keeps the logits of all these tokens as well.
      await this.compute(rows, {
        wants: () => true,
        onOutputs: (indices) => {
          const address = llama.embeddings(this.handle);
          if (!address) throw failed('llama.cpp returned no hidden states');
          onStates(new Float32Array(viewMemory(address, 4 * width * indices.length)), indices);
        },
        most: outputsAtOnce(this.model.vocabulary.size),
        signal,
      });
    } finally {
      llama.setEmbeddings(this.handle, false);
      this.clear();
    }
  }

  /**
   * Reads tokens at positions `start`, `start + 1`, ... For each batch computed, `onLogits` gets the logits of those tokens whose
   * index satisfies `wants`: a view [count · vocabulary] valid during the call, with the tokens' indices.
   */
  async decode(tokens: Int32Array, start: number, options: DecodeOptions = {}): Promise<void> {
    const rows = Array.from(tokens, (token, i) => ({ token, position: start + i, sequences: ONLY }));
    await this.compute(rows, { ...options, onOutputs: this.logitsFor(options.onLogits) });
  }

  /**
   * The same with tokens of several sequences, of each in the order of its positions. Sequences that share a token share all before it.
   * Few logits are held at once.
   */
  async decodeRows(rows: readonly Row[], options: DecodeOptions = {}): Promise<void> {
    const most = outputsAtOnce(this.model.vocabulary.size);
    await this.compute(rows, { ...options, onOutputs: this.logitsFor(options.onLogits), most });
  }

  private logitsFor(onLogits: DecodeOptions['onLogits']): ((indices: number[]) => void) | undefined {
    return (
      onLogits &&
      ((indices) => {
        const address = native().llama.logits(this.handle);
        if (!address) throw failed('llama.cpp returned no logits');
        onLogits(new Float32Array(viewMemory(address, 4 * this.model.vocabulary.size * indices.length)), indices);
      })
    );
  }

  /** @param options.most outputs of a batch */
  private async compute(
    rows: readonly Row[],
    options: Pick<DecodeOptions, 'wants' | 'signal'> & { onOutputs?: (indices: number[]) => void; most?: number },
  ): Promise<void> {
    const { llama } = native();
    const { signal, wants = () => false, most = Number.POSITIVE_INFINITY } = options;
    const run = async () => {
      for (let from = 0; from < rows.length; ) {
        throwIfStopped(signal);
        const indices: number[] = [];
        let n = 0;
        for (; n < this.batchTokens && from + n < rows.length; n++) {
          const { token, position, sequences } = rows[from + n]!;
          const want = wants(from + n);
          if (want && indices.length === most) break;
          this.tokens[n] = token;
          this.positions[n] = position;
          this.counts[n] = sequences.length;
          this.ids[n]!.set(sequences);
          this.wanted[n] = want ? 1 : 0;
          if (want) indices.push(from + n);
        }
        const status = await callAsync(llama.decode, this.handle, { ...this.batch, n_tokens: n });
        if (status === decodeStatus.aborted) throw new StoppedError();
        if (status === decodeStatus.noSlot) {
          const found = 'the conversation is longer than the context';
          throw new LoamError({ code: 'too-large', found, fix: 'start a new one' });
        }
        if (status !== decodeStatus.success) throw failed(`llama.cpp failed to compute (${status})`);
        if (indices.length > 0) options.onOutputs?.(indices);
        from += n;
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
    params.n_gpu_layers = 0;
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
    const { threads = defaultThreads() } = options;
    // Where there are nothing but states, libllama finds no place for sequences that have a beginning in common.
    const sequences = llama.modelIsRecurrent(this.handle) ? 1 : (options.sequences ?? 1);
    const params = llama.contextDefaultParams();
    params.n_ctx = options.contextLength;
    params.n_batch = Math.min(options.contextLength, 2048);
    params.n_ubatch = Math.min(options.contextLength, options.batchTokens ?? 512);
    params.n_threads = threads;
    params.n_threads_batch = threads;
    if (sequences > 1) {
      params.n_seq_max = sequences;
      params.kv_unified = true;
      // Of room for logits libllama takes as much as it may ever need.
      params.n_outputs_max = Math.max(sequences, outputsAtOnce(this.vocabulary.size));
    }
    const handle = await openContext(this, params);
    const context = new LlamaContext(this, handle, params.n_batch, sequences, () => this.contexts.delete(context));
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
