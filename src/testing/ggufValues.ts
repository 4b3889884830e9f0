import { type GgufArray, type GgufScalar, numbers } from '../formats/gguf/values.js';

/** Builders of all kinds of GGUF metadata; those that the product writes are in `formats/gguf/values.ts`. */
export { bool, f32, f32s, i32, i32s, str, strings, u32 } from '../formats/gguf/values.js';

export const u8 = (value: number): GgufScalar => ({ type: 'u8', value });
export const i8 = (value: number): GgufScalar => ({ type: 'i8', value });
export const u16 = (value: number): GgufScalar => ({ type: 'u16', value });
export const i16 = (value: number): GgufScalar => ({ type: 'i16', value });
export const u64 = (value: number | bigint): GgufScalar => ({ type: 'u64', value: BigInt(value) });
export const i64 = (value: number | bigint): GgufScalar => ({ type: 'i64', value: BigInt(value) });
export const f64 = (value: number): GgufScalar => ({ type: 'f64', value });
export const bools = (value: readonly boolean[]): GgufArray => ({ type: 'array', of: 'bool', value });
export const u8s = (value: ArrayLike<number>): GgufArray => numbers('u8', value);
export const i8s = (value: ArrayLike<number>): GgufArray => numbers('i8', value);
export const u16s = (value: ArrayLike<number>): GgufArray => numbers('u16', value);
export const i16s = (value: ArrayLike<number>): GgufArray => numbers('i16', value);
export const u32s = (value: ArrayLike<number>): GgufArray => numbers('u32', value);
export const f64s = (value: ArrayLike<number>): GgufArray => numbers('f64', value);
export const u64s = (values: readonly bigint[]): GgufArray => ({
  type: 'array',
  of: 'u64',
  value: BigUint64Array.from(values),
});
export const i64s = (values: readonly bigint[]): GgufArray => ({
  type: 'array',
  of: 'i64',
  value: BigInt64Array.from(values),
});
