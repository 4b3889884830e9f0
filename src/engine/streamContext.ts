import { LoamError } from '../base/errors.js';
import { viewMemory } from './ffi.js';
import { type GraphReader, readGraph, tapAddress } from './graphTap.js';
import { applyAdapters, type LlamaModel, openContext } from './llama.js';
import type { AdapterHandle, LlamaContextHandle } from './llamaBindings.js';
import { type Native, native } from './native.js';
import { defaultThreads } from './threads.js';

/** What one sequence goes on with: tokens, or rows that enter the first layer in their place, [width] each. */
export interface Stretch {
  content: Int32Array | Float32Array;
  /** Of the first of them. */
  position: number;
  sequence: number;
  /** Of tokens, those of which the last layer computes its rows; default: the last of all that is read. */
  outputs?: readonly number[];
}

interface StreamContextOptions {
  /** Values of a row, for a context that is fed with rows; without it, it reads tokens. */
  width?: number;
  /** Tokens held at once, of all sequences. */
  contextLength: number;
  /** Tokens that are computed at once, at most. */
  batchTokens: number;
  /** Sequences that are read side by side, at most. */
  sequences: number;
  /** Of tokens, outputs that are asked for at once, at most; default: 1. */
  outputs?: number;
  threads?: number;
}

/** Values of `enum llama_rope_type` (ggml.h, GGML_ROPE_TYPE_MROPE and _IMROPE) that rotate by several positions a row, and how many. */
const sectionedRopes = new Set([8, 40]);
const sections = 4;

/**
 * A context of libllama whose forward pass is looked into. All that is read at once is one graph, whose rows lie in the order in which
 * they were given. Fed with rows, every one is an output, so that the last layer computes all of them; fed with tokens, only those are
 * that are asked for, since a model that reads tokens has a vocabulary of logits for each output.
 */
export class StreamContext implements Disposable {
  private readonly batch: ReturnType<Native['llama']['batchInit']>;
  private readonly content: Int32Array | Float32Array;
  private readonly positions: Int32Array;
  private readonly ids: Int32Array[];
  private readonly outputs: Int8Array;
  private disposed = false;

  private constructor(
    model: LlamaModel,
    private readonly handle: LlamaContextHandle,
    private readonly options: StreamContextOptions,
    /** Positions a row; of tokens libllama makes the others itself. */
    private readonly perRow: number,
  ) {
    const { llama } = native();
    const { width = 0, batchTokens } = options;
    // libllama reads four positions of a row where it allocates one: so there is room for four times the rows.
    const rows = perRow * batchTokens;
    this.batch = llama.batchInit(rows, width, 1);
    const { embd, token, pos, n_seq_id, seq_id, logits } = this.batch;
    this.content = width > 0 ? new Float32Array(viewMemory(embd!, 4 * rows * width)) : int32(token, rows);
    this.positions = int32(pos, rows);
    int32(n_seq_id, rows).fill(1);
    this.outputs = new Int8Array(viewMemory(logits, rows)).fill(1);
    const addresses = new BigUint64Array(viewMemory(seq_id, 8 * batchTokens));
    this.ids = Array.from(addresses, (address) => int32(address, 1));
    this.oneByOne = holdsStates(model);
  }

  /** Whether sequences must be read one after the other: libllama orders the rows of several anew where layers hold states. */
  readonly oneByOne: boolean;

  static async open(model: LlamaModel, options: StreamContextOptions): Promise<StreamContext> {
    const { llama } = native();
    const { contextLength, batchTokens, sequences, width = 0, outputs = 1, threads = defaultThreads() } = options;
    const params = llama.contextDefaultParams();
    Object.assign(params, {
      n_ctx: contextLength,
      n_batch: batchTokens,
      n_ubatch: batchTokens,
      n_seq_max: sequences,
      n_threads: threads,
      n_threads_batch: threads,
      kv_unified: true,
      n_outputs_max: Math.max(sequences, width > 0 ? batchTokens : outputs),
      // Sequences share what the first one holds: nothing of it may be dropped.
      swa_full: true,
      // What is read lies in the processor's memory.
      op_offload: false,
      offload_kqv: false,
      cb_eval: tapAddress(),
    });
    const handle = await openContext(model, params);
    return new StreamContext(model, handle, options, width > 0 && isSectioned(model) ? sections : 1);
  }

  /** Puts an adapter on, or takes it off. Forgets what was read. */
  wear(adapter: AdapterHandle | undefined): void {
    applyAdapters(this.handle, adapter ? [{ adapter, scale: 1 }] : []);
    this.clear();
  }

  /** Forgets all sequences. */
  clear(): void {
    const { llama } = native();
    llama.memoryClear(llama.contextMemory(this.handle), false);
  }

  /** Begins a sequence with all that the first one holds. */
  share(sequence: number): void {
    const { llama } = native();
    if (sequence !== 0) llama.memorySequenceCopy(llama.contextMemory(this.handle), 0, sequence, -1, -1);
  }

  drop(sequence: number): void {
    const { llama } = native();
    llama.memorySequenceRemove(llama.contextMemory(this.handle), sequence, -1, -1);
  }

  /** Reads stretches as one graph, which the reader follows; it holds up the event loop meanwhile. */
  read(stretches: readonly Stretch[], reader: GraphReader): void {
    const { width = 1, batchTokens } = this.options;
    const isTokens = this.options.width === undefined;
    if (isTokens) this.outputs.fill(0);
    let n = 0;
    for (const { content, position, sequence, outputs = [] } of stretches) {
      const rows = content.length / width;
      if (n + rows > batchTokens) throw new RangeError(`${n + rows} rows, and room for ${batchTokens}`);
      this.content.set(content as Float32Array & Int32Array, n * width);
      if (isTokens) for (const output of outputs) this.outputs[n + output] = 1;
      for (let i = 0; i < rows; i++, n++) {
        this.positions[n] = position + i;
        this.ids[n]![0] = sequence;
      }
    }
    if (isTokens && !this.outputs.includes(1)) this.outputs[n - 1] = 1;
    if (this.perRow > 1) {
      // Section by section, each of all rows: time, height and width of texts are the same, and the fourth is unused.
      for (let section = 1; section < sections - 1; section++) this.positions.copyWithin(section * n, 0, n);
      this.positions.fill(0, (sections - 1) * n, sections * n);
    }
    const status = readGraph(reader, () => native().llama.decode(this.handle, { ...this.batch, n_tokens: n }));
    if (status !== 0) throw new LoamError({ code: 'failed', found: `llama.cpp failed to compute (${status})` });
  }

  /** Logits of the last token read, where the graph was computed to its end: a view valid until the next ones are read. */
  lastLogits(vocabulary: number): Float32Array {
    const address = native().llama.logitsOf(this.handle, -1);
    if (!address) throw new LoamError({ code: 'failed', found: 'llama.cpp returned no logits' });
    return new Float32Array(viewMemory(address, 4 * vocabulary));
  }

  [Symbol.dispose](): void {
    if (this.disposed) return;
    this.disposed = true;
    const { llama } = native();
    llama.batchFree(this.batch);
    llama.contextFree(this.handle);
  }
}

const isSectioned = ({ handle }: LlamaModel) => sectionedRopes.has(native().llama.modelRopeType(handle));

/** Whether layers hold a state of each sequence that is written over as it goes on. */
function holdsStates({ handle }: LlamaModel): boolean {
  const { llama } = native();
  return llama.modelIsHybrid(handle) || llama.modelIsRecurrent(handle);
}

const int32 = (address: bigint, length: number) => new Int32Array(viewMemory(address, 4 * length));
