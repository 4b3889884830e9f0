import { LoamError } from '../util/errors.js';
import { bytes } from '../util/format.js';
import { Arena } from './arena.js';
import { type BufferHandle, type BufferTypeHandle, native } from './native.js';
import type { Tensor } from './tensor.js';
import type { TensorTypeName } from './tensorTypes.js';

/** Values of `enum ggml_backend_buffer_usage`. */
export const bufferUsage = { any: 0, weights: 1, compute: 2 } as const;

/**
 * Tensors that live longer than a graph, in one buffer of one type: weights, statistics, adapters. Declare them with `tensor`, then
 * `allocate` once; `dispose` frees memory and descriptions together.
 */
export class TensorBuffer implements Disposable {
  private readonly arena: Arena;
  private buffer: BufferHandle | undefined;

  constructor(
    private readonly bufferType: BufferTypeHandle,
    capacity: number,
  ) {
    this.arena = new Arena(capacity);
  }

  tensor(type: TensorTypeName, dims: readonly number[]): Tensor {
    if (this.buffer) throw new Error('tensor() after allocate()');
    return this.arena.tensor(type, dims);
  }

  /** A tensor that `adamwStep` may change. */
  parameter(dims: readonly number[]): Tensor {
    const tensor = this.tensor('f32', dims);
    native().ggml.setParameter(tensor.handle);
    return tensor;
  }

  /** Sets every byte to zero. */
  clear(): void {
    if (this.buffer) native().ggml.bufferClear(this.buffer, 0);
  }

  /** Allocates every declared tensor, zeroed where `zero` is set. Throws LoamError where memory does not suffice. */
  allocate(options: { usage?: keyof typeof bufferUsage; zero?: boolean } = {}): this {
    const { ggml } = native();
    const buffer = ggml.allocContextTensors(this.arena.context, this.bufferType);
    if (!buffer) {
      throw new LoamError({
        found: `no memory for tensors in a ${ggml.bufferTypeName(this.bufferType)} buffer`,
        fix: 'close other programs, or use a smaller model or batch',
      });
    }
    this.buffer = buffer;
    ggml.bufferSetUsage(buffer, bufferUsage[options.usage ?? 'any']);
    if (options.zero) ggml.bufferClear(buffer, 0);
    return this;
  }

  /** Bytes allocated. */
  get size(): number {
    return this.buffer ? Number(native().ggml.bufferSize(this.buffer)) : 0;
  }

  toString(): string {
    return `${native().ggml.bufferTypeName(this.bufferType)} buffer of ${bytes(this.size)}`;
  }

  [Symbol.dispose](): void {
    if (this.buffer) native().ggml.bufferFree(this.buffer);
    this.buffer = undefined;
    this.arena[Symbol.dispose]();
  }
}
