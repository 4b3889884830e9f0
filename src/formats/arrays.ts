import { LoamError } from '../base/errors.js';
import { bfloatsToFloats, floatsToBfloats, floatsToHalves, halvesToFloats } from '../base/floats.js';
import { exactly, type TensorData } from './dataFile.js';

/** Arrays in memory and their element types, by one name each: what npy and safetensors call them, and how long an element is. */

type NumericArray =
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

interface DtypeInfo {
  /** Bytes per element. */
  readonly bytes: number;
  /** The array that holds them as they are stored. */
  readonly Elements: { readonly name: string; new (data: ArrayBufferLike, from: number, length: number): NumericArray };
  /** Kind and length in numpy's descr. bf16 is not numpy's: `V2`, raw bytes, is what ml_dtypes makes np.save write. */
  readonly npy: string;
  readonly safetensors: string;
}

export const dtypes = {
  f64: { bytes: 8, Elements: Float64Array, npy: 'f8', safetensors: 'F64' },
  f32: { bytes: 4, Elements: Float32Array, npy: 'f4', safetensors: 'F32' },
  f16: { bytes: 2, Elements: Uint16Array, npy: 'f2', safetensors: 'F16' },
  bf16: { bytes: 2, Elements: Uint16Array, npy: 'V2', safetensors: 'BF16' },
  i64: { bytes: 8, Elements: BigInt64Array, npy: 'i8', safetensors: 'I64' },
  i32: { bytes: 4, Elements: Int32Array, npy: 'i4', safetensors: 'I32' },
  i16: { bytes: 2, Elements: Int16Array, npy: 'i2', safetensors: 'I16' },
  i8: { bytes: 1, Elements: Int8Array, npy: 'i1', safetensors: 'I8' },
  u64: { bytes: 8, Elements: BigUint64Array, npy: 'u8', safetensors: 'U64' },
  u32: { bytes: 4, Elements: Uint32Array, npy: 'u4', safetensors: 'U32' },
  u16: { bytes: 2, Elements: Uint16Array, npy: 'u2', safetensors: 'U16' },
  u8: { bytes: 1, Elements: Uint8Array, npy: 'u1', safetensors: 'U8' },
  bool: { bytes: 1, Elements: Uint8Array, npy: 'b1', safetensors: 'BOOL' },
} as const satisfies Record<string, DtypeInfo>;

export type Dtype = keyof typeof dtypes;

export const dtypeNames = Object.keys(dtypes) as readonly Dtype[];

export interface ArrayInfo {
  readonly dtype: Dtype;
  /** C order: the last index runs fastest (ggml counts the other way round). Empty for a scalar; lengths may be 0. */
  readonly shape: readonly number[];
}

/** An array in memory: its elements one after another, little endian, the last index fastest. */
export interface NdArray extends ArrayInfo {
  readonly data: Uint8Array;
}

export interface ArrayToWrite extends ArrayInfo {
  /** If a function, it is called once, when its turn comes. */
  readonly data: TensorData;
}

export interface NamedArrayToWrite extends ArrayToWrite {
  readonly name: string;
}

/** Elements of an array of this shape; imprecise beyond 2^53, but still beyond it. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}

/** Bytes of an array; see `elementCount`. */
export function arrayBytes({ dtype, shape }: ArrayInfo): number {
  return elementCount(shape) * dtypes[dtype].bytes;
}

/** "f32 [2, 3]", for messages. */
export function describeArray({ dtype, shape }: ArrayInfo): string {
  return `${dtype} [${shape.join(', ')}]`;
}

/** NPY_MAXDIMS of numpy 2 is 64, of numpy 1 32; no tensor of a model has more than 5. */
const MAX_DIMENSIONS = 64;

/** What is wrong with a shape, or undefined: its lengths must be whole numbers from 0, not too many, and the array's bytes countable. */
export function checkShape(array: ArrayInfo): string | undefined {
  const { shape } = array;
  if (shape.length > MAX_DIMENSIONS) return `${shape.length} dimensions, at most ${MAX_DIMENSIONS} are read`;
  if (!shape.every((length) => Number.isSafeInteger(length) && length >= 0)) {
    return 'a length that is not a whole number from 0 to 2^53';
  }
  // Without the zeros: a product of huge lengths and one 0 would hide the huge ones.
  const others = { ...array, shape: shape.filter((length) => length > 0) };
  return Number.isSafeInteger(arrayBytes(others)) ? undefined : 'lengths whose product is beyond 2^53';
}

/** Element types of typed arrays, by name rather than by class: a Buffer is a Uint8Array too. */
const dtypeOf = new Map(
  dtypeNames
    .filter((name) => !['f16', 'bf16', 'bool'].includes(name))
    .map((name): [string, Dtype] => [dtypes[name].Elements.name, name]),
);

/**
 * A typed array as an array of `shape`, one-dimensional if none is given; the memory is shared. Every platform of Node's is little endian.
 * @throws RangeError if the shape does not hold as many elements
 */
export function ndArray(values: NumericArray, shape: readonly number[] = [values.length]): NdArray {
  const dtype = dtypeOf.get(values[Symbol.toStringTag])!;
  const problem = checkShape({ dtype, shape });
  if (problem !== undefined) throw new RangeError(`a shape with ${problem}`);
  if (elementCount(shape) !== values.length) {
    throw new RangeError(`${values.length} values for an array of shape [${shape.join(', ')}]`);
  }
  return { dtype, shape, data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
}

/** The elements as they are stored; bool as u8, f16 and bf16 as f32. */
function elements({ dtype, data }: NdArray): NumericArray {
  const { bytes, Elements }: DtypeInfo = dtypes[dtype];
  // A typed array can begin only at a multiple of its element's length.
  const { buffer, byteOffset, byteLength } = data.byteOffset % bytes === 0 ? data : data.slice();
  const stored = new Elements(buffer, byteOffset, byteLength / bytes);
  if (dtype === 'f16') return halvesToFloats(stored as Uint16Array);
  return dtype === 'bf16' ? bfloatsToFloats(stored as Uint16Array) : stored;
}

/** As f32: f32 without a copy if possible, f16, bf16 and short integers exactly, the others to the nearest. */
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
    throw new LoamError({
      code: 'invalid-data',
      found: `the integer ${value}`,
      expected: 'one within 2^53',
      fix: 'store it as a float',
    });
  });
}

export type FloatDtype = 'f64' | 'f32' | 'f16' | 'bf16';

/** Values as an array of another floating type, to the nearest (ties to even); f32 shares the memory. Throws as `ndArray`. */
export function fromFloat32(values: Float32Array, shape: readonly number[], dtype: FloatDtype): NdArray {
  switch (dtype) {
    case 'f64':
      return ndArray(Float64Array.from(values), shape);
    case 'f32':
      return ndArray(values, shape);
    case 'f16':
      return { ...ndArray(floatsToHalves(values), shape), dtype };
    case 'bf16':
      return { ...ndArray(floatsToBfloats(values), shape), dtype };
  }
}

/** The bytes of an array to be written, as many as its type and shape say. Throws LoamError if there are more or fewer. */
export function arrayPieces(array: ArrayToWrite, where: string): AsyncGenerator<Uint8Array, void, undefined> {
  return exactly(array.data, arrayBytes(array), describeArray(array), where);
}
