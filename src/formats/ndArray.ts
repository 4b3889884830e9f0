import { checkShape } from './checkShape.js';
import { type Dtype, elementCount, type NdArray } from './dtypes.js';

export type NumericArray =
  | Float64Array
  | Float32Array
  | Int32Array
  | Int16Array
  | Int8Array
  | Uint32Array
  | Uint16Array
  | Uint8Array
  | BigInt64Array
  | BigUint64Array;

/** By Symbol.toStringTag rather than by class: a Buffer is a Uint8Array too. */
const dtypeOf: Record<NumericArray[typeof Symbol.toStringTag], Dtype> = {
  Float64Array: 'f64',
  Float32Array: 'f32',
  Int32Array: 'i32',
  Int16Array: 'i16',
  Int8Array: 'i8',
  Uint32Array: 'u32',
  Uint16Array: 'u16',
  Uint8Array: 'u8',
  BigInt64Array: 'i64',
  BigUint64Array: 'u64',
};

/**
 * A typed array as an array of `shape`, one-dimensional if none is given; the memory is shared. Every platform of Node's is little endian.
 * @throws RangeError where the shape does not hold as many elements
 */
export function ndArray(values: NumericArray, shape: readonly number[] = [values.length]): NdArray {
  const dtype = dtypeOf[values[Symbol.toStringTag]];
  const problem = checkShape({ dtype, shape });
  if (problem !== undefined) throw new RangeError(`a shape with ${problem}`);
  if (elementCount(shape) !== values.length) {
    throw new RangeError(`${values.length} values for an array of shape [${shape.join(', ')}]`);
  }
  return { dtype, shape, data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
}
