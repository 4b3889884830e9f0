import { LoamError } from '../util/errors.js';
import { Arena } from './arena.js';
import { type GraphHandle, native } from './native.js';
import { Operations } from './operations.js';
import type { Tensor } from './tensor.js';
import type { TensorTypeName } from './tensorTypes.js';
import type { Workspace } from './workspace.js';

/**
 * One computation: declare inputs with their data, apply operations, name outputs, `compute`, read the outputs. Tensors of a graph
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
    native().ggml.setOutput(tensor.handle);
    native().ggml.buildForward(this.handle, tensor.handle);
    return tensor;
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
