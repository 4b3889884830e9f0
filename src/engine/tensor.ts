import { LoamError } from '../base/errors.js';
import { bytes } from '../base/format.js';
import { callAsync, readPointer, viewMemory } from './ffi.js';
import type { BufferHandle, BufferTypeHandle, ContextHandle, TensorHandle } from './ggmlBindings.js';
import { native } from './native.js';
import { rowBytes, type TensorType, type TensorTypeName, tensorTypes } from './tensorTypes.js';

/** Tensors, their descriptions and the memory they lie in. */

/** Sizes in ggml's order: ne0 is the fastest-varying dimension. Missing dimensions are 1. */
export type Shape = readonly [number, number, number, number];

/** Offset of `buffer` in `struct ggml_tensor` (ggml.h): behind the type, aligned to a pointer. */
export const bufferOffset = 8n;

export function shapeOf(dims: readonly number[]): Shape {
  return [dims[0] ?? 1, dims[1] ?? 1, dims[2] ?? 1, dims[3] ?? 1];
}

/** Strides in bytes of a dense tensor (ggml.c, ggml_new_tensor_impl). */
export function denseStrides(type: TensorType, ne: Shape): Shape {
  const nb1 = rowBytes(type, ne[0]);
  return [type.typeSize, nb1, nb1 * ne[1], nb1 * ne[1] * ne[2]];
}

/**
 * A tensor of ggml: its address with the shape and strides that ggml keeps, mirrored here so that every operation can be checked
 * before native code (which aborts the process on a wrong shape) sees it. Owned by the arena it was made in.
 */
export class Tensor {
  constructor(
    readonly handle: TensorHandle,
    readonly type: TensorType,
    readonly ne: Shape,
    readonly nb: Shape,
  ) {}

  /** Whether it has memory: a graph gives none to an input that nothing uses. */
  get allocated(): boolean {
    return readPointer(this.handle + bufferOffset) !== 0n;
  }

  get elements(): number {
    return this.ne[0] * this.ne[1] * this.ne[2] * this.ne[3];
  }

  get rows(): number {
    return this.ne[1] * this.ne[2] * this.ne[3];
  }

  /** Bytes of a dense tensor of this shape. */
  get bytes(): number {
    return rowBytes(this.type, this.ne[0]) * this.rows;
  }

  get contiguous(): boolean {
    const dense = denseStrides(this.type, this.ne);
    return this.ne.every((n, i) => n === 1 || this.nb[i] === dense[i]);
  }

  /** Whether the values of a row lie side by side, as most operations want it of their first argument. */
  get hasDenseRows(): boolean {
    return this.nb[0] === this.type.typeSize;
  }

  /** For messages: "f32 [576, 512]". */
  toString(): string {
    const last = Math.max(
      1,
      this.ne.reduce((acc, n, i) => (n > 1 ? i + 1 : acc), 0),
    );
    return `${this.type.name} [${this.ne.slice(0, last).join(', ')}]`;
  }

  /** Writes data at byte `offset` (quantised data as blocks). The tensor must be allocated. */
  write(data: ArrayBufferView, offset = 0): void {
    if (offset + data.byteLength > this.bytes) {
      throw new RangeError(`${data.byteLength} bytes at ${offset} do not fit into ${this} of ${this.bytes} bytes`);
    }
    if (data.byteLength > 0) native().ggml.tensorSet(this.handle, data, offset, data.byteLength);
  }

  /** As `write`, off the event loop: for large tensors, and for buffer types that repack what they are given. */
  async writeAsync(data: ArrayBufferView): Promise<void> {
    if (data.byteLength !== this.bytes) {
      throw new RangeError(`${data.byteLength} bytes for ${this}, which takes ${this.bytes}`);
    }
    await callAsync(native().ggml.tensorSet, this.handle, data, 0, data.byteLength);
  }

  /** Fills `into` with the tensor's bytes from `offset` on. */
  read<A extends ArrayBufferView>(into: A, offset = 0): A {
    if (offset + into.byteLength > this.bytes) {
      throw new RangeError(`${into.byteLength} bytes asked of ${this}, which holds ${this.bytes}`);
    }
    if (into.byteLength > 0) native().ggml.tensorGet(this.handle, into, offset, into.byteLength);
    return into;
  }

  /**
   * The values of an f32 tensor where they lie, if that is the processor's memory, else in a new array. Valid as long as the tensor has
   * its memory.
   */
  floats(): Float32Array {
    const { ggml } = native();
    const buffer = readPointer(this.handle + bufferOffset) as BufferHandle;
    if (this.type.name !== 'f32' || !this.contiguous || !ggml.bufferIsHost(buffer)) return this.toFloat32();
    return new Float32Array(viewMemory(ggml.tensorData(this.handle)!, this.bytes));
  }

  /** The values of an f32 tensor in a new array. */
  toFloat32(): Float32Array {
    if (this.type.name !== 'f32') throw new TypeError(`toFloat32 of ${this}`);
    return this.read(new Float32Array(this.elements));
  }
}

/** A `ggml_context` without data: it holds the descriptions of up to `capacity` tensors and of one graph, if it is to have `graphNodes`. */
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

/** Values of `enum ggml_backend_buffer_usage`. */
const bufferUsage = { any: 0, weights: 1, compute: 2 } as const;

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

  /** Allocates every declared tensor, zeroed if `zero` is set. Throws LoamError if there is not enough memory. */
  allocate(options: { usage?: keyof typeof bufferUsage; zero?: boolean } = {}): this {
    const { ggml } = native();
    const buffer = ggml.allocContextTensors(this.arena.context, this.bufferType);
    if (!buffer) {
      throw new LoamError({
        code: 'out-of-memory',
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

const standIns = new Map<BufferTypeHandle, BufferHandle | null>();

/**
 * A buffer that serves by its type only: backends decide by the type of a weight's buffer how it lies. Never freed; null where the type
 * gives none.
 */
export function standIn(type: BufferTypeHandle): BufferHandle | null {
  let buffer = standIns.get(type);
  if (buffer === undefined) {
    const { ggml } = native();
    buffer = ggml.bufferTypeAlloc(type, 32);
    if (buffer) ggml.bufferSetUsage(buffer, bufferUsage.weights);
    standIns.set(type, buffer);
  }
  return buffer;
}

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
