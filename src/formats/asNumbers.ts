import { bfloatsToFloats } from '../util/bfloat.js';
import { LoamError } from '../util/errors.js';
import { halvesToFloats } from '../util/half.js';
import { dtypes, type NdArray } from './dtypes.js';

/** The bytes where a typed array can begin: at a multiple of the element's length in their buffer; copied if need be. */
function aligned({ dtype, data }: NdArray): Uint8Array {
  return data.byteOffset % dtypes[dtype].bytes === 0 ? data : data.slice();
}

/** The elements as they are stored; bool as u8, f16 and bf16 as f32. */
function elements(array: NdArray) {
  const data = aligned(array);
  const [buffer, at, count] = [data.buffer, data.byteOffset, data.length / dtypes[array.dtype].bytes];
  switch (array.dtype) {
    case 'f64':
      return new Float64Array(buffer, at, count);
    case 'f32':
      return new Float32Array(buffer, at, count);
    case 'f16':
      return halvesToFloats(new Uint16Array(buffer, at, count));
    case 'bf16':
      return bfloatsToFloats(new Uint16Array(buffer, at, count));
    case 'i64':
      return new BigInt64Array(buffer, at, count);
    case 'i32':
      return new Int32Array(buffer, at, count);
    case 'i16':
      return new Int16Array(buffer, at, count);
    case 'i8':
      return new Int8Array(buffer, at, count);
    case 'u64':
      return new BigUint64Array(buffer, at, count);
    case 'u32':
      return new Uint32Array(buffer, at, count);
    case 'u16':
      return new Uint16Array(buffer, at, count);
    case 'u8':
    case 'bool':
      return new Uint8Array(buffer, at, count);
  }
}

/** As f32: f32 itself without a copy where it can be, f16, bf16 and short integers exactly, the others to the nearest. */
export function toFloat32(array: NdArray): Float32Array {
  const values = elements(array);
  if (values instanceof Float32Array) return values;
  if (values instanceof BigInt64Array || values instanceof BigUint64Array) return Float32Array.from(values, Number);
  return Float32Array.from(values);
}

/**
 * As f64, exactly.
 * @throws LoamError for integers beyond 2^53, which f64 does not hold
 */
export function toFloat64(array: NdArray): Float64Array {
  const values = elements(array);
  if (values instanceof Float64Array) return values;
  if (!(values instanceof BigInt64Array || values instanceof BigUint64Array)) return Float64Array.from(values);
  return Float64Array.from(values, (value) => {
    if (Number.isSafeInteger(Number(value))) return Number(value);
    throw new LoamError({ found: `the integer ${value}`, expected: 'one within 2^53', fix: 'store it as a float' });
  });
}
