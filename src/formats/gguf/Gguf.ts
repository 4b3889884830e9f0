import type { FileHandle } from 'node:fs/promises';
import { LoamError, quote } from '../../base/errors.js';
import { bytes as asBytes, count } from '../../base/format.js';
import { explainReadError, openRegularFile, readFully } from '../../base/io.js';
import type { TensorType } from '../../engine/tensorTypes.js';

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
function describeType(value: GgufValue): string {
  return value.type === 'array' ? `array of ${value.value.length} ${value.of}` : value.type;
}

/** One tensor of a file, checked to lie within it. */
export interface GgufTensor {
  readonly name: string;
  readonly type: TensorType;
  /** ggml order: ne0, the length of a row, comes first. 1 to 4 lengths, none 0. */
  readonly shape: readonly number[];
  /** Bytes from the start of the file. */
  readonly offset: number;
  /** Bytes of its data. */
  readonly bytes: number;
}

interface GgufParts {
  readonly path: string;
  readonly size: number;
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  readonly dataOffset: number;
  readonly alignment: number;
}

/** The largest and smallest integers that `number` returns: beyond them a u64 would be rounded. */
const isSafe = (value: number | bigint): boolean => typeof value === 'number' || Number.isSafeInteger(Number(value));

/**
 * What is known of a GGUF file without reading its weights. The getters take a key and, optionally, what to return where
 * the file does not have it (`undefined` too). Without that a missing key throws LoamError; another type always does.
 */
export class Gguf implements GgufParts {
  readonly path: string;
  /** Bytes of the file. */
  readonly size: number;
  /** 2 or 3. */
  readonly version: number;
  /** In file order. */
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** By name, in file order. */
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** Where the tensor data begins, in bytes from the start of the file. */
  readonly dataOffset: number;
  /** Bytes that each tensor's offset is a multiple of. */
  readonly alignment: number;

  constructor(parts: GgufParts) {
    this.path = parts.path;
    this.size = parts.size;
    this.version = parts.version;
    this.metadata = parts.metadata;
    this.tensors = parts.tensors;
    this.dataOffset = parts.dataOffset;
    this.alignment = parts.alignment;
  }

  has(key: string): boolean {
    return this.metadata.has(key);
  }

  /** A string; where its bytes are not UTF-8 (see `raw` in metadata) they are U+FFFD here. */
  string(key: string): string;
  string<T>(key: string, fallback: T): string | T;
  string<T>(key: string, ...fallback: [T?]): string | T | undefined {
    return this.get(key, 'a string', (v) => (v.type === 'string' ? v.value : undefined), fallback);
  }

  boolean(key: string): boolean;
  boolean<T>(key: string, fallback: T): boolean | T;
  boolean<T>(key: string, ...fallback: [T?]): boolean | T | undefined {
    return this.get(key, 'a bool', (v) => (v.type === 'bool' ? v.value : undefined), fallback);
  }

  /** A number of any integer or floating type; 64-bit integers beyond 2^53 are refused. May be NaN or infinite where the file says so. */
  number(key: string): number;
  number<T>(key: string, fallback: T): number | T;
  number<T>(key: string, ...fallback: [T?]): number | T | undefined {
    const expected = 'a number of any type, up to 2^53 where whole';
    const read = (v: GgufValue): number | undefined =>
      (typeof v.value === 'number' || typeof v.value === 'bigint') && isSafe(v.value) ? Number(v.value) : undefined;
    return this.get(key, expected, read, fallback);
  }

  /** An array of numbers of any integer or floating type, as `number`. */
  numbers(key: string): number[];
  numbers<T>(key: string, fallback: T): number[] | T;
  numbers<T>(key: string, ...fallback: [T?]): number[] | T | undefined {
    const expected = 'an array of numbers of any type, up to 2^53 where whole';
    return this.get(key, expected, numbersOf, fallback);
  }

  /** An array of strings; as `string` where their bytes are not UTF-8. */
  strings(key: string): readonly string[];
  strings<T>(key: string, fallback: T): readonly string[] | T;
  strings<T>(key: string, ...fallback: [T?]): readonly string[] | T | undefined {
    const read = (v: GgufValue): readonly string[] | undefined =>
      v.type === 'array' && v.of === 'string' ? v.value : undefined;
    return this.get(key, 'an array of strings', read, fallback);
  }

  /** The tensor of this name; throws LoamError where there is none. */
  tensor(name: string): GgufTensor {
    const tensor = this.tensors.get(name);
    if (tensor !== undefined) return tensor;
    const found = `there is no tensor ${quote(name)} among its ${this.tensors.size}`;
    throw new LoamError({ found, where: this.path });
  }

  private get<R, T>(
    key: string,
    expected: string,
    read: (value: GgufValue) => R | undefined,
    fallback: [T?],
  ): R | T | undefined {
    const stored = this.metadata.get(key);
    const where = `${this.path}, key ${quote(key)}`;
    if (stored === undefined) {
      if (fallback.length > 0) return fallback[0];
      throw new LoamError({ found: 'this key is missing', expected, where });
    }
    const value = read(stored);
    if (value !== undefined) return value;
    throw new LoamError({ found: `this is ${describeStored(stored)}`, expected, where });
  }
}

function numbersOf(stored: GgufValue): number[] | undefined {
  if (stored.type !== 'array' || stored.of === 'string' || stored.of === 'bool') return undefined;
  const numbers: number[] = [];
  for (const element of stored.value) {
    if (!isSafe(element)) return undefined;
    numbers.push(Number(element));
  }
  return numbers;
}

/** The type, with the value where it is short: "a u64 (18446744073709551615)". */
function describeStored(stored: GgufValue): string {
  if (stored.type === 'array') return `an ${describeType(stored)}`;
  return `a ${stored.type} (${stored.type === 'string' ? quote(stored.value) : stored.value})`;
}

/** Bytes a piece of `stream`, unless told otherwise: large enough for the disk, small beside a phone's memory. */
const PIECE_BYTES = 4 * 1024 * 1024;

/** An open file whose tensors can be read, several at a time if need be. `await using file = await openTensors(gguf)`. */
export class GgufFile {
  private closed = false;

  /** Use `openTensors`. */
  constructor(
    readonly gguf: Gguf,
    private readonly file: FileHandle,
  ) {}

  /**
   * Bytes of one tensor, as stored. With `into` (at least as long) they are put there and the filled part of it is
   * returned; that may be memory of the native side. Throws LoamError for an unknown name and a file that has shrunk.
   */
  async read(name: string, into?: Uint8Array): Promise<Uint8Array> {
    const tensor = this.gguf.tensor(name);
    if (into !== undefined && into.length < tensor.bytes) {
      throw new RangeError(`${into.length} bytes of room for tensor ${quote(name)} of ${tensor.bytes}`);
    }
    const target = into?.subarray(0, tensor.bytes) ?? this.allocate(tensor);
    await this.fill(tensor, target, 0);
    return target;
  }

  /**
   * Bytes `from` to `from + bytes` of one tensor, such as some of its rows. Throws RangeError for a range outside it,
   * LoamError as `read`.
   */
  async readPart(name: string, from: number, bytes: number): Promise<Uint8Array> {
    const tensor = this.gguf.tensor(name);
    const whole = Number.isSafeInteger(from) && Number.isSafeInteger(bytes) && from >= 0 && bytes >= 0;
    if (!whole || from + bytes > tensor.bytes) {
      throw new RangeError(`${bytes} bytes from ${from} are not within tensor ${quote(name)} of ${tensor.bytes}`);
    }
    const target = new Uint8Array(bytes);
    await this.fill(tensor, target, from);
    return target;
  }

  /** Bytes of one tensor in pieces of `pieceBytes` (the last may be shorter), each a fresh array. Throws as `read`. */
  async *stream(name: string, pieceBytes = PIECE_BYTES): AsyncGenerator<Uint8Array, void, undefined> {
    if (!Number.isSafeInteger(pieceBytes) || pieceBytes < 1) throw new RangeError(`pieces of ${pieceBytes} bytes`);
    const { bytes } = this.gguf.tensor(name);
    for (let from = 0; from < bytes; from += pieceBytes) {
      yield await this.readPart(name, from, Math.min(pieceBytes, bytes - from));
    }
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.file.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private allocate(tensor: GgufTensor): Uint8Array {
    try {
      return new Uint8Array(tensor.bytes);
    } catch (cause) {
      const found = `there is no memory for its ${asBytes(tensor.bytes)} at once`;
      throw new LoamError({ found, where: `${this.gguf.path}, tensor ${quote(tensor.name)}` }, { cause });
    }
  }

  private async fill(tensor: GgufTensor, target: Uint8Array, from: number): Promise<void> {
    try {
      const done = await readFully(this.file, target, tensor.offset + from);
      if (done === target.length) return;
      throw new LoamError({
        found: `the file ends ${count(target.length - done)} bytes too early`,
        expected: `the ${count(this.gguf.size)} bytes it had when its header was read`,
        where: `${this.gguf.path}, tensor ${quote(tensor.name)}`,
      });
    } catch (error) {
      throw explainReadError(error, this.gguf.path);
    }
  }
}

/** Opens the file of `gguf` for reading its tensors. Throws LoamError where it is gone or has another size than when it was checked. */
export async function openTensors(gguf: Gguf): Promise<GgufFile> {
  const { file, size } = await openRegularFile(gguf.path);
  if (size === gguf.size) return new GgufFile(gguf, file);
  await file.close();
  throw new LoamError({
    found: `the file has ${count(size)} bytes`,
    expected: `the ${count(gguf.size)} bytes it had when its header was read`,
    where: gguf.path,
    fix: 'something has changed it meanwhile: run again',
  });
}

/** Bytes of one tensor, for a caller that needs no other. Throws as `openTensors` and `GgufFile.read`. */
export async function readTensorBytes(gguf: Gguf, name: string): Promise<Uint8Array> {
  await using file = await openTensors(gguf);
  return await file.read(name);
}
