import { Arena } from './arena.js';
import { type BufferHandle, native } from './native.js';
import type { Tensor } from './tensor.js';
import { bufferUsage } from './tensorBuffer.js';
import type { TensorType } from './tensorTypes.js';

/** A tensor over memory that something else owns (a mapped file) and that must outlive it. The CPU backend reads it in place. */
export class MappedTensor implements Disposable {
  readonly tensor: Tensor;
  private readonly arena = new Arena(1);
  private readonly buffer: BufferHandle;

  constructor(type: TensorType, shape: readonly number[], address: bigint) {
    const { ggml } = native();
    this.tensor = this.arena.tensor(type.name, shape);
    this.buffer = ggml.bufferFromPointer(address, this.tensor.bytes);
    ggml.bufferSetUsage(this.buffer, bufferUsage.weights);
    ggml.tensorAlloc(this.buffer, this.tensor.handle, address);
  }

  [Symbol.dispose](): void {
    native().ggml.bufferFree(this.buffer);
    this.arena[Symbol.dispose]();
  }
}
