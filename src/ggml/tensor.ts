import { callAsync, native, readPointer, type TensorHandle } from './native.js';
import { rowBytes, type TensorType } from './tensorTypes.js';

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

  /** For messages: "f32 [576, 512]". */
  toString(): string {
    const last = Math.max(
      1,
      this.ne.reduce((acc, n, i) => (n > 1 ? i + 1 : acc), 0),
    );
    return `${this.type.name} [${this.ne.slice(0, last).join(', ')}]`;
  }

  /** Writes the whole tensor (quantised data as blocks). The tensor must be allocated. */
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

  /** Reads the whole tensor into `into`, whose byte length must be the tensor's. */
  read<A extends ArrayBufferView>(into: A, offset = 0): A {
    if (offset + into.byteLength > this.bytes) {
      throw new RangeError(`${into.byteLength} bytes asked of ${this}, which holds ${this.bytes}`);
    }
    if (into.byteLength > 0) native().ggml.tensorGet(this.handle, into, offset, into.byteLength);
    return into;
  }

  /** The values of an f32 tensor in a new array. */
  toFloat32(): Float32Array {
    if (this.type.name !== 'f32') throw new TypeError(`toFloat32 of ${this}`);
    return this.read(new Float32Array(this.elements));
  }
}
