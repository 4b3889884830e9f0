import { LoamError, throwIfStopped } from '../base/errors.js';
import type { Engine } from './engine.js';
import { allocateForever, viewMemory } from './ffi.js';
import type { GraphHandle, SchedulerHandle } from './ggmlBindings.js';
import { native } from './native.js';
import { Operations } from './operations.js';
import { Arena, type Tensor } from './tensor.js';
import type { TensorTypeName } from './tensorTypes.js';

/**
 * One computation: declare inputs with their data, apply operations, mark outputs, `compute`, read the outputs. Tensors of a graph
 * (not those of a TensorBuffer it uses) are valid until the next graph of the workspace begins.
 */
export class Graph extends Operations implements Disposable {
  private readonly arena: Arena;
  private readonly handle: GraphHandle;
  private readonly pending: { tensor: Tensor; data: ArrayBufferView }[] = [];
  private disposed = false;

  constructor(readonly workspace: Workspace) {
    // Inputs and views count as tensors beside the nodes, so the arena holds twice the nodes.
    const arena = new Arena(2 * workspace.nodes, workspace.nodes);
    super(arena.context);
    this.arena = arena;
    this.handle = native().ggml.newGraph(this.context, workspace.nodes, false);
  }

  /** An input tensor filled with `data` when the graph is computed. The data must stay unchanged until then. */
  input(type: TensorTypeName, dims: readonly number[], data: ArrayBufferView): Tensor {
    const tensor = this.arena.tensor(type, dims);
    if (data.byteLength !== tensor.bytes) {
      throw new RangeError(`${data.byteLength} bytes for input ${tensor}, which takes ${tensor.bytes}`);
    }
    native().ggml.setInput(tensor.handle);
    this.pending.push({ tensor, data });
    return tensor;
  }

  /** Marks a tensor to be computed and kept for reading after `compute`. */
  output(tensor: Tensor): Tensor {
    // An input is copied: ggml finds room anew for what has become larger, but does not look at inputs that no operation reads.
    const kept = this.pending.some((input) => input.tensor === tensor) ? this.cont(tensor) : tensor;
    native().ggml.setOutput(kept.handle);
    native().ggml.buildForward(this.handle, kept.handle);
    return kept;
  }

  /** Adds a tensor to what is computed, for its side effect (an in-place sum, a copy into a TensorBuffer). */
  run(tensor: Tensor): void {
    native().ggml.buildForward(this.handle, tensor.handle);
  }

  get nodes(): number {
    return native().ggml.graphNodes(this.handle);
  }

  /** Allocates, copies the inputs in, and computes off the event loop. */
  async compute(signal?: AbortSignal): Promise<void> {
    const { ggml } = native();
    if (!ggml.schedulerAlloc(this.workspace.scheduler, this.handle)) {
      throw new LoamError({
        code: 'out-of-memory',
        found: 'no memory for the intermediate results of a computation',
        fix: 'close other programs, or use a smaller batch',
      });
    }
    for (const { tensor, data } of this.pending) if (tensor.allocated) tensor.write(data);
    await this.workspace.engine.compute(this.workspace.scheduler, this.handle, signal);
  }

  [Symbol.dispose](): void {
    if (this.disposed) return;
    this.disposed = true;
    this.arena[Symbol.dispose]();
  }
}

/**
 * A scheduler with its compute memory, which grows to the largest graph seen and is reused. One graph at a time: `begin` ends the
 * one before it.
 */
export class Workspace implements Disposable {
  private handle: SchedulerHandle;
  private current: Graph | undefined;
  private disposed = false;

  constructor(
    readonly engine: Engine,
    readonly nodes: number,
  ) {
    this.handle = engine.newScheduler(nodes);
  }

  get scheduler(): SchedulerHandle {
    return this.handle;
  }

  /** A new, empty graph. */
  begin(): Graph {
    this.current?.[Symbol.dispose]();
    native().ggml.schedulerReset(this.scheduler);
    this.current = new Graph(this);
    return this.current;
  }

  /** Bytes of compute memory held. */
  get bytes(): number {
    return this.engine.schedulerBytes(this.scheduler);
  }

  /** Ends the graph in hand and gives back its compute memory: the next graph takes what it needs itself. */
  release(): void {
    this.current?.[Symbol.dispose]();
    this.current = undefined;
    native().ggml.schedulerFree(this.handle);
    this.handle = this.engine.newScheduler(this.nodes);
  }

  [Symbol.dispose](): void {
    if (this.disposed) return;
    this.disposed = true;
    this.current?.[Symbol.dispose]();
    native().ggml.schedulerFree(this.handle);
  }
}

/** Offset of `ne[0]` in `struct ggml_tensor` (ggml.h): type (4) + padding (4) + buffer (8). */
const neOffset = 16;
const tensorSize = 336;

/**
 * A stop flag that native compute threads poll without entering JavaScript. ggml's abort callback has the signature
 * `bool (*)(void *)`, and `ggml_is_empty(const ggml_tensor *)` is such a function that reads memory only: given the address of a
 * made-up tensor it returns true as soon as one of its sizes is written to zero. So the callback is `ggml_is_empty`, and the flag is
 * that tensor.
 */
export class AbortFlag {
  readonly callback = native().ggml.isEmptyAddress;
  /** Never freed: a compute thread may still be reading it when its owner is gone. */
  readonly data: bigint = allocateForever(tensorSize);
  private readonly sizes: BigInt64Array;

  constructor() {
    this.sizes = new BigInt64Array(viewMemory(this.data + BigInt(neOffset), 32));
    this.sizes.fill(1n);
  }

  /** Runs native work that polls this flag, which the signal raises. Throws StoppedError without running it if that has fired already. */
  async during<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    throwIfStopped(signal);
    this.sizes[0] = 1n;
    const raise = () => {
      this.sizes[0] = 0n;
    };
    signal?.addEventListener('abort', raise, { once: true });
    try {
      return await work();
    } finally {
      signal?.removeEventListener('abort', raise);
    }
  }
}
