/** What a tensor's entry must satisfy, for reader and writer alike. Each rule returns the problem as words to follow the tensor's name. */
import type { TensorType } from '../ggml/tensorTypes.js';
import { count } from '../util/format.js';
import { MAX_DIMS, MAX_TENSOR_NAME_BYTES } from './limits.js';
import type { GgufText } from './values.js';

/** ggml keeps names as C strings in 64 bytes, so a NUL or a longer name would make two names one. */
export function nameProblem(name: GgufText): string | undefined {
  const bytes = name.raw?.length ?? Buffer.byteLength(name.value);
  if (bytes === 0) return 'has an empty name';
  if (name.raw !== undefined) return 'has a name that is not UTF-8';
  if (name.value.includes('\0')) return 'has a NUL in its name';
  if (bytes > MAX_TENSOR_NAME_BYTES) {
    return `has a name of ${count(bytes)} bytes, expected at most ${MAX_TENSOR_NAME_BYTES}`;
  }
  return undefined;
}

const LARGEST = BigInt(Number.MAX_SAFE_INTEGER);

/**
 * Bytes of a tensor of this type and shape (ggml order, ne0 first), or the problem. Counted in bigint, so that no product
 * of dimensions can wrap; both the elements and the bytes must stay below 2^53, the largest file and index Loam handles.
 */
export function tensorBytes(type: TensorType, shape: readonly bigint[]): number | string {
  if (shape.length < 1 || shape.length > MAX_DIMS) {
    return `has ${count(shape.length)} dimensions, expected 1 to ${MAX_DIMS}`;
  }
  const zero = shape.findIndex((length) => length <= 0n);
  if (zero >= 0) return `has dimension ${zero} of ${shape[zero]}, expected at least 1`;
  const elements = shape.reduce((product, length) => product * length, 1n);
  const sizes = shape.map((length) => count(length)).join(' x ');
  if (elements > LARGEST) return `has ${sizes} elements, expected less than 2^53`;
  if (shape[0]! % BigInt(type.blockSize) !== 0n) {
    return `has rows of ${count(shape[0]!)} values, expected a multiple of ${type.blockSize} (the block of ${type.name})`;
  }
  const bytes = (elements / BigInt(type.blockSize)) * BigInt(type.typeSize);
  if (bytes > LARGEST) return `takes ${count(bytes)} bytes, expected less than 2^53`;
  return Number(bytes);
}
