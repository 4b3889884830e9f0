import { allocateForever, type FunctionPointer, native, viewMemory } from './native.js';

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
  readonly callback: FunctionPointer = native().ggml.isEmptyAddress;
  /** Never freed: a compute thread may still look at it while the owner goes away. */
  readonly data: bigint = allocateForever(tensorSize);
  private readonly sizes: BigInt64Array;

  constructor() {
    this.sizes = new BigInt64Array(viewMemory(this.data + BigInt(neOffset), 32));
    this.sizes.fill(1n);
  }

  set(stop: boolean): void {
    this.sizes[0] = stop ? 0n : 1n;
  }

  get isSet(): boolean {
    return this.sizes[0] === 0n;
  }
}
