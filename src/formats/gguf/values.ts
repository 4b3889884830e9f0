import { quote } from '../../base/errors.js';

/** Metadata values of GGUF: every stored type keeps its name, so that a value read is written back as the same bytes. */

/** The numeric types and the typed array that holds several of them. Bits are stored little-endian, as on every host that ggml's prebuilt libraries exist for. */
export const numericTypes = {
  u8: { id: 0, Elements: Uint8Array },
  i8: { id: 1, Elements: Int8Array },
  u16: { id: 2, Elements: Uint16Array },
  i16: { id: 3, Elements: Int16Array },
  u32: { id: 4, Elements: Uint32Array },
  i32: { id: 5, Elements: Int32Array },
  f32: { id: 6, Elements: Float32Array },
  u64: { id: 10, Elements: BigUint64Array },
  i64: { id: 11, Elements: BigInt64Array },
  f64: { id: 12, Elements: Float64Array },
} as const;

export type GgufNumericType = keyof typeof numericTypes;
export type GgufElementType = GgufNumericType | 'bool' | 'string';

/** Typed array of each numeric type. */
export type GgufElements = { [T in GgufNumericType]: InstanceType<(typeof numericTypes)[T]['Elements']> };

/** Values of `enum gguf_type` in gguf.h that are not numeric. */
const BOOL_ID = 7;
const STRING_ID = 8;
export const ARRAY_ID = 9;

/** A string value. GGUF strings are bytes and llama.cpp does not check them: if they are not UTF-8, `raw` holds them and `value` has U+FFFD in their place. */
export interface GgufText {
  readonly value: string;
  readonly raw?: Uint8Array;
}

/** A number; u64 and i64 as bigint. `raw`: the bytes of a NaN other than JavaScript's own (x86 makes negative ones), which it would write differently. */
export type GgufNumber = {
  [T in GgufNumericType]: { readonly type: T; readonly value: GgufElements[T][number]; readonly raw?: Uint8Array };
}[GgufNumericType];

export type GgufScalar =
  | GgufNumber
  | { readonly type: 'bool'; readonly value: boolean }
  | ({ readonly type: 'string' } & GgufText);

export type GgufNumericArray = {
  [T in GgufNumericType]: { readonly type: 'array'; readonly of: T; readonly value: GgufElements[T] };
}[GgufNumericType];

export type GgufArray =
  | GgufNumericArray
  | { readonly type: 'array'; readonly of: 'bool'; readonly value: readonly boolean[] }
  | {
      readonly type: 'array';
      readonly of: 'string';
      readonly value: readonly string[];
      /** Bytes of the elements that are not UTF-8, by index; absent if all are. */
      readonly raw?: ReadonlyMap<number, Uint8Array>;
    };

export type GgufValue = GgufScalar | GgufArray;

const numericById = new Map<number, GgufNumericType>(
  Object.entries(numericTypes).map(([name, { id }]) => [id, name as GgufNumericType]),
);

/** The element type with this id; undefined for arrays and for ids that gguf.h does not know. */
export function elementTypeById(id: number): GgufElementType | undefined {
  if (id === BOOL_ID) return 'bool';
  if (id === STRING_ID) return 'string';
  return numericById.get(id);
}

/** Value of `enum gguf_type` for an element type. */
export function elementTypeId(type: GgufElementType): number {
  if (type === 'bool') return BOOL_ID;
  if (type === 'string') return STRING_ID;
  return numericTypes[type].id;
}

/** The type, with the value if it is short: "a u64 (18446744073709551615)", "an array of 3 string". */
export function describeValue(stored: GgufValue): string {
  if (stored.type === 'array') return `an array of ${stored.value.length} ${stored.of}`;
  return `a ${stored.type} (${stored.type === 'string' ? quote(stored.value) : stored.value})`;
}

/** Builders of metadata values, for writers: `new Map([['general.name', str('x')], ['llama.block_count', u32(22)]])`. */

export const u32 = (value: number): GgufScalar => ({ type: 'u32', value });
export const i32 = (value: number): GgufScalar => ({ type: 'i32', value });
/** Rounded to single precision here, so that what is built equals what is read back. */
export const f32 = (value: number): GgufScalar => ({ type: 'f32', value: Math.fround(value) });
export const bool = (value: boolean): GgufScalar => ({ type: 'bool', value });
export const str = (value: string): GgufScalar => ({ type: 'string', value });
export const strings = (value: readonly string[]): GgufArray => ({ type: 'array', of: 'string', value });

/** An array of numbers. Throws RangeError for an element that the type cannot hold, which a typed array would wrap or cut. */
export function numbers(of: Exclude<GgufNumericType, 'u64' | 'i64'>, value: ArrayLike<number>): GgufArray {
  const { Elements } = numericTypes[of];
  const elements = value instanceof Elements ? value : Elements.from(value);
  for (let i = 0; i < elements.length; i++) {
    const wanted = of === 'f32' ? Math.fround(value[i]!) : value[i]!;
    if (!Object.is(elements[i]! + 0, wanted + 0)) throw new RangeError(`element ${i}: ${value[i]} does not fit ${of}`);
  }
  return { type: 'array', of, value: elements } as GgufArray;
}
export const i32s = (value: ArrayLike<number>): GgufArray => numbers('i32', value);
export const bools = (value: readonly boolean[]): GgufArray => ({ type: 'array', of: 'bool', value });
export const f32s = (value: ArrayLike<number>): GgufArray => numbers('f32', value);
