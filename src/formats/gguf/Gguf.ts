import { LoamError, quote } from '../../base/errors.js';
import { count } from '../../base/format.js';
import type { TensorType } from '../../engine/tensorTypes.js';
import { DataFile, findTensor, TensorFile } from '../dataFile.js';
import { describeValue, type GgufValue } from './values.js';

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

/** The largest and smallest integers that `number` returns: beyond them a u64 would be rounded. */
const isSafe = (value: number | bigint): boolean => typeof value === 'number' || Number.isSafeInteger(Number(value));

/**
 * What is known of a GGUF file without reading its weights. The getters take a key and, optionally, what to return if the file
 * does not have it (`undefined` too). Without that a missing key throws LoamError; another type always does.
 */
export class Gguf {
  /** @param size bytes of the file; @param version 2 or 3; metadata and tensors are in file order */
  constructor(
    readonly path: string,
    readonly size: number,
    readonly version: number,
    readonly metadata: ReadonlyMap<string, GgufValue>,
    readonly tensors: ReadonlyMap<string, GgufTensor>,
  ) {}

  has(key: string): boolean {
    return this.metadata.has(key);
  }

  /** A string; bytes that are not UTF-8 (see `raw` in metadata) are U+FFFD here. */
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

  /** A number of any integer or floating type; 64-bit integers beyond 2^53 are refused. May be NaN or infinite if the file says so. */
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

  /** An array of strings; as `string` if their bytes are not UTF-8. */
  strings(key: string): readonly string[];
  strings<T>(key: string, fallback: T): readonly string[] | T;
  strings<T>(key: string, ...fallback: [T?]): readonly string[] | T | undefined {
    const read = (v: GgufValue): readonly string[] | undefined =>
      v.type === 'array' && v.of === 'string' ? v.value : undefined;
    return this.get(key, 'an array of strings', read, fallback);
  }

  /** The tensor of this name; throws LoamError if there is none. */
  tensor(name: string): GgufTensor {
    return findTensor(this.tensors, name, this.path);
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
      throw new LoamError({ code: 'damaged', found: 'this key is missing', expected, where });
    }
    const value = read(stored);
    if (value !== undefined) return value;
    throw new LoamError({ code: 'damaged', found: `this is ${describeValue(stored)}`, expected, where });
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

/** An open file whose tensors can be read, several at a time if need be. `await using file = await openTensors(gguf)`. */
export class GgufFile extends TensorFile<GgufTensor> {
  /** Use `openTensors`. */
  constructor(
    readonly gguf: Gguf,
    file: DataFile,
  ) {
    super(file, gguf.tensors);
  }

  /** Bytes of one tensor, as stored; see `readBytes`. */
  async read(name: string, into?: Uint8Array): Promise<Uint8Array> {
    return await this.readBytes(name, into);
  }
}

/** Opens the file of `gguf` for reading its tensors. Throws LoamError if it is gone or has another size than when it was checked. */
export async function openTensors(gguf: Gguf): Promise<GgufFile> {
  return await DataFile.open(gguf.path, async (file) => {
    if (file.size === gguf.size) return new GgufFile(gguf, file);
    throw new LoamError({
      code: 'conflict',
      found: `the file has ${count(file.size)} bytes`,
      expected: `the ${count(gguf.size)} bytes it had when its header was read`,
      where: gguf.path,
      fix: 'another program has changed it: run again',
    });
  });
}

/** Bytes of one tensor, for a caller that needs no other. Throws as `openTensors` and `GgufFile.read`. */
export async function readTensorBytes(gguf: Gguf, name: string): Promise<Uint8Array> {
  await using file = await openTensors(gguf);
  return await file.read(name);
}
