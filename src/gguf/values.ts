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
export const BOOL_ID = 7;
export const STRING_ID = 8;
export const ARRAY_ID = 9;

/** A string value. GGUF strings are bytes and llama.cpp does not check them: `raw` holds them where they are not UTF-8, and `value` then has U+FFFD in their place. */
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
      /** Bytes of the elements that are not UTF-8, by index; absent where all are. */
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

/** "u32", "array of 3 string": the stored type, for messages. */
export function describeType(value: GgufValue): string {
  return value.type === 'array' ? `array of ${value.value.length} ${value.of}` : value.type;
}
