/** Builders of metadata values, for writers: `new Map([['general.name', str('x')], ['llama.block_count', u32(22)]])`. */
import type { GgufArray, GgufElements, GgufNumericType, GgufScalar } from './values.js';
import { numericTypes } from './values.js';

export const u8 = (value: number): GgufScalar => ({ type: 'u8', value });
export const i8 = (value: number): GgufScalar => ({ type: 'i8', value });
export const u16 = (value: number): GgufScalar => ({ type: 'u16', value });
export const i16 = (value: number): GgufScalar => ({ type: 'i16', value });
export const u32 = (value: number): GgufScalar => ({ type: 'u32', value });
export const i32 = (value: number): GgufScalar => ({ type: 'i32', value });
export const u64 = (value: number | bigint): GgufScalar => ({ type: 'u64', value: BigInt(value) });
export const i64 = (value: number | bigint): GgufScalar => ({ type: 'i64', value: BigInt(value) });
/** Rounded to single precision here, so that what is built equals what is read back. */
export const f32 = (value: number): GgufScalar => ({ type: 'f32', value: Math.fround(value) });
export const f64 = (value: number): GgufScalar => ({ type: 'f64', value });
export const bool = (value: boolean): GgufScalar => ({ type: 'bool', value });
export const str = (value: string): GgufScalar => ({ type: 'string', value });

export const strings = (value: readonly string[]): GgufArray => ({ type: 'array', of: 'string', value });
export const bools = (value: readonly boolean[]): GgufArray => ({ type: 'array', of: 'bool', value });

const builder =
  <T extends Exclude<GgufNumericType, 'u64' | 'i64'>>(of: T) =>
  (value: ArrayLike<number>): GgufArray => {
    const { Elements } = numericTypes[of];
    const elements = value instanceof Elements ? value : Elements.from(value);
    // Typed arrays wrap or cut what does not fit, which would store other numbers than were given.
    for (let i = 0; i < elements.length; i++) {
      const wanted = of === 'f32' ? Math.fround(value[i]!) : value[i]!;
      const kept = elements[i] === wanted || (Number.isNaN(elements[i]) && Number.isNaN(wanted));
      if (!kept) throw new RangeError(`element ${i}: ${value[i]} does not fit ${of}`);
    }
    return { type: 'array', of, value: elements as GgufElements[T] } as GgufArray;
  };

export const u8s = builder('u8');
export const i8s = builder('i8');
export const u16s = builder('u16');
export const i16s = builder('i16');
export const u32s = builder('u32');
export const i32s = builder('i32');
export const f32s = builder('f32');
export const f64s = builder('f64');
export const u64s = (value: readonly bigint[]): GgufArray => ({
  type: 'array',
  of: 'u64',
  value: BigUint64Array.from(value),
});
export const i64s = (value: readonly bigint[]): GgufArray => ({
  type: 'array',
  of: 'i64',
  value: BigInt64Array.from(value),
});
