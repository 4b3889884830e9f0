/** Element types of the formats, by one name each: what npy and safetensors call them, and how long an element is. */

interface DtypeInfo {
  /** Bytes an element. */
  readonly bytes: number;
  /** Kind and length in numpy's descr. bf16 is not numpy's: `V2`, raw bytes, is what ml_dtypes makes np.save write. */
  readonly npy: string;
  readonly safetensors: string;
}

export const dtypes = {
  f64: { bytes: 8, npy: 'f8', safetensors: 'F64' },
  f32: { bytes: 4, npy: 'f4', safetensors: 'F32' },
  f16: { bytes: 2, npy: 'f2', safetensors: 'F16' },
  bf16: { bytes: 2, npy: 'V2', safetensors: 'BF16' },
  i64: { bytes: 8, npy: 'i8', safetensors: 'I64' },
  i32: { bytes: 4, npy: 'i4', safetensors: 'I32' },
  i16: { bytes: 2, npy: 'i2', safetensors: 'I16' },
  i8: { bytes: 1, npy: 'i1', safetensors: 'I8' },
  u64: { bytes: 8, npy: 'u8', safetensors: 'U64' },
  u32: { bytes: 4, npy: 'u4', safetensors: 'U32' },
  u16: { bytes: 2, npy: 'u2', safetensors: 'U16' },
  u8: { bytes: 1, npy: 'u1', safetensors: 'U8' },
  bool: { bytes: 1, npy: 'b1', safetensors: 'BOOL' },
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

/** Bytes of an array, at hand or produced when their turn comes, whole or in pieces of any size. */
export type ArrayData = Uint8Array | (() => Uint8Array | Promise<Uint8Array> | AsyncIterable<Uint8Array>);

export interface ArrayToWrite extends ArrayInfo {
  /** Called once, when its turn comes, where it is a function. */
  readonly data: ArrayData;
}

export interface NamedArrayToWrite extends ArrayToWrite {
  readonly name: string;
}

/** Elements of an array of this shape; beyond 2^53 imprecise, but then larger still. */
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
