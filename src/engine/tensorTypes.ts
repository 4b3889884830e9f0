/** Tensor types of ggml: ids, block and byte sizes, as `ggml.h` and `ggml.c` of the pinned release define them. A test holds this table against the loaded library. */

export interface TensorType {
  /** Value of `enum ggml_type`, as stored in GGUF files. */
  readonly id: number;
  readonly name: TensorTypeName;
  /** Elements per block: a row's length must be a multiple of it. */
  readonly blockSize: number;
  /** Bytes per block. */
  readonly typeSize: number;
  readonly quantised: boolean;
}

const table = {
  f32: { id: 0, name: 'f32', blockSize: 1, typeSize: 4, quantised: false },
  f16: { id: 1, name: 'f16', blockSize: 1, typeSize: 2, quantised: false },
  q4_0: { id: 2, name: 'q4_0', blockSize: 32, typeSize: 18, quantised: true },
  q4_1: { id: 3, name: 'q4_1', blockSize: 32, typeSize: 20, quantised: true },
  q5_0: { id: 6, name: 'q5_0', blockSize: 32, typeSize: 22, quantised: true },
  q5_1: { id: 7, name: 'q5_1', blockSize: 32, typeSize: 24, quantised: true },
  q8_0: { id: 8, name: 'q8_0', blockSize: 32, typeSize: 34, quantised: true },
  q8_1: { id: 9, name: 'q8_1', blockSize: 32, typeSize: 36, quantised: true },
  q2_k: { id: 10, name: 'q2_k', blockSize: 256, typeSize: 84, quantised: true },
  q3_k: { id: 11, name: 'q3_k', blockSize: 256, typeSize: 110, quantised: true },
  q4_k: { id: 12, name: 'q4_k', blockSize: 256, typeSize: 144, quantised: true },
  q5_k: { id: 13, name: 'q5_k', blockSize: 256, typeSize: 176, quantised: true },
  q6_k: { id: 14, name: 'q6_k', blockSize: 256, typeSize: 210, quantised: true },
  q8_k: { id: 15, name: 'q8_k', blockSize: 256, typeSize: 292, quantised: true },
  iq2_xxs: { id: 16, name: 'iq2_xxs', blockSize: 256, typeSize: 66, quantised: true },
  iq2_xs: { id: 17, name: 'iq2_xs', blockSize: 256, typeSize: 74, quantised: true },
  iq3_xxs: { id: 18, name: 'iq3_xxs', blockSize: 256, typeSize: 98, quantised: true },
  iq1_s: { id: 19, name: 'iq1_s', blockSize: 256, typeSize: 50, quantised: true },
  iq4_nl: { id: 20, name: 'iq4_nl', blockSize: 32, typeSize: 18, quantised: true },
  iq3_s: { id: 21, name: 'iq3_s', blockSize: 256, typeSize: 110, quantised: true },
  iq2_s: { id: 22, name: 'iq2_s', blockSize: 256, typeSize: 82, quantised: true },
  iq4_xs: { id: 23, name: 'iq4_xs', blockSize: 256, typeSize: 136, quantised: true },
  i8: { id: 24, name: 'i8', blockSize: 1, typeSize: 1, quantised: false },
  i16: { id: 25, name: 'i16', blockSize: 1, typeSize: 2, quantised: false },
  i32: { id: 26, name: 'i32', blockSize: 1, typeSize: 4, quantised: false },
  i64: { id: 27, name: 'i64', blockSize: 1, typeSize: 8, quantised: false },
  f64: { id: 28, name: 'f64', blockSize: 1, typeSize: 8, quantised: false },
  iq1_m: { id: 29, name: 'iq1_m', blockSize: 256, typeSize: 56, quantised: true },
  bf16: { id: 30, name: 'bf16', blockSize: 1, typeSize: 2, quantised: false },
  tq1_0: { id: 34, name: 'tq1_0', blockSize: 256, typeSize: 54, quantised: true },
  tq2_0: { id: 35, name: 'tq2_0', blockSize: 256, typeSize: 66, quantised: true },
  mxfp4: { id: 39, name: 'mxfp4', blockSize: 32, typeSize: 17, quantised: true },
  nvfp4: { id: 40, name: 'nvfp4', blockSize: 64, typeSize: 36, quantised: true },
  q1_0: { id: 41, name: 'q1_0', blockSize: 128, typeSize: 18, quantised: true },
  q2_0: { id: 42, name: 'q2_0', blockSize: 64, typeSize: 18, quantised: true },
} as const;

export type TensorTypeName = keyof typeof table;

export const tensorTypes: Readonly<Record<TensorTypeName, TensorType>> = table;

/** Types without a kernel that multiplies: integers, f64, and what ggml makes of activations on the way. */
const withoutKernel: ReadonlySet<TensorTypeName> = new Set(['i8', 'i16', 'i32', 'i64', 'f64', 'q8_1', 'q8_k']);

/** Whether a matrix of this type can be multiplied with, and looked up in. */
export const hasKernel = ({ name }: TensorType): boolean => !withoutKernel.has(name);

const byId = new Map<number, TensorType>(Object.values(tensorTypes).map((type) => [type.id, type]));

/** The type with this id, or undefined for an id that the pinned release does not know. */
export function tensorTypeById(id: number): TensorType | undefined {
  return byId.get(id);
}

/** Bytes of one row of `elements` values; throws RangeError if the row is not a whole number of blocks. */
export function rowBytes(type: TensorType, elements: number): number {
  if (elements % type.blockSize !== 0) {
    throw new RangeError(`a row of ${elements} values does not divide into ${type.name} blocks of ${type.blockSize}`);
  }
  return (elements / type.blockSize) * type.typeSize;
}
