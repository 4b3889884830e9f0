import { type ContextHandle, native } from './native.js';
import { denseStrides, type Shape, shapeOf, Tensor } from './tensor.js';
import { type TensorTypeName, tensorTypes } from './tensorTypes.js';

/** A `ggml_context` without data: it holds the descriptions of up to `capacity` tensors and, where asked, one graph. */
export class Arena implements Disposable {
  readonly context: ContextHandle;
  private disposed = false;

  constructor(capacity: number, graphNodes = 0) {
    const { ggml } = native();
    const graphBytes = graphNodes > 0 ? Number(ggml.graphOverhead(graphNodes, false)) : 0;
    // One spare tensor: ggml asserts that the pool is never exactly full.
    const size = (capacity + 1) * Number(ggml.tensorOverhead()) + graphBytes + 64;
    this.context = ggml.init({ mem_size: size, mem_buffer: null, no_alloc: true });
  }

  /** A new tensor without memory; `dims` in ggml's order (ne0 first). */
  tensor(type: TensorTypeName, dims: readonly number[]): Tensor {
    const kind = tensorTypes[type];
    const ne: Shape = shapeOf(dims);
    if (dims.length > 4 || ne.some((n) => !Number.isSafeInteger(n) || n <= 0)) {
      throw new RangeError(`a tensor of shape [${dims.join(', ')}]`);
    }
    const nb = denseStrides(kind, ne);
    const handle = native().ggml.newTensor(this.context, kind.id, ...ne);
    return new Tensor(handle, kind, ne, nb);
  }

  [Symbol.dispose](): void {
    if (this.disposed) return;
    this.disposed = true;
    native().ggml.free(this.context);
  }
}
