import { LoamError } from '../util/errors.js';
import { LlamaContext, type LlamaContextOptions } from './llamaContext.js';
import { type AdapterHandle, callAsync, type ModelHandle, native } from './native.js';
import { defaultThreads } from './threads.js';
import { Vocabulary } from './vocabulary.js';

/** Values of `enum llama_load_mode`. */
const loadModes = { auto: -1, none: 0, mmap: 1 } as const;

export interface LlamaModelOptions {
  /** Loads the tokeniser only. */
  vocabularyOnly?: boolean;
  /** Layers on the GPU, where a GPU backend is loaded; default: all with LOAM_GPU, else none. */
  gpuLayers?: number;
  /**
   * Leaves the weights where the mapped file has them instead of copying them into a faster layout (default false): slower for some
   * types, but the file's pages are the only memory, and the system can take them back.
   */
  inPlace?: boolean;
}

/**
 * A model in stock libllama: the tokeniser, the yardstick of the effect gate, and the engine of chat. The file must have passed
 * Loam's own validator (`readGguf`) before.
 */
export class LlamaModel implements Disposable {
  readonly vocabulary: Vocabulary;
  private readonly contexts = new Set<LlamaContext>();
  private readonly adapters: AdapterHandle[] = [];
  private disposed = false;

  private constructor(
    readonly handle: ModelHandle,
    readonly path: string,
  ) {
    this.vocabulary = new Vocabulary(native().llama.modelVocab(handle));
  }

  static async load(path: string, options: LlamaModelOptions = {}): Promise<LlamaModel> {
    const { llama } = native();
    const params = llama.modelDefaultParams();
    params.vocab_only = options.vocabularyOnly ?? false;
    params.n_gpu_layers = options.gpuLayers ?? (process.env.LOAM_GPU ? -1 : 0);
    params.load_mode = loadModes.mmap;
    if (options.inPlace) params.use_extra_bufts = false;
    const handle = await callAsync(llama.modelLoad, path, params);
    if (!handle) {
      throw new LoamError({
        found: 'llama.cpp refused this model',
        where: path,
        fix: 'run again with LOAM_NATIVE_LOG=1 to see its reason',
      });
    }
    return new LlamaModel(handle, path);
  }

  /** Loads a LoRA adapter file, which must have passed `readAdapter`. Freed with the model. */
  async loadAdapter(path: string): Promise<AdapterHandle> {
    const adapter = await callAsync(native().llama.adapterLoad, this.handle, path);
    if (!adapter) {
      throw new LoamError({
        found: 'llama.cpp refused this adapter',
        where: path,
        fix: 'run again with LOAM_NATIVE_LOG=1 to see its reason',
      });
    }
    this.adapters.push(adapter);
    return adapter;
  }

  /** Frees an adapter before the model; no context may wear it any more. */
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
