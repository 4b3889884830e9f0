import { LoamError } from '../../base/errors.js';
import { count, listFirst } from '../../base/format.js';
import type { TensorType } from '../../engine/tensorTypes.js';
import type { GgufText, GgufValue } from './values.js';

/**
 * What reader and writer of GGUF hold a file to: limits, each with its reason, past which a file is refused before anything of that size
 * is allocated; and rules for keys, names, shapes and alignment, whose answer is the problem, in words that follow the thing's name.
 */

/** Versions read. 1 had 32-bit counts and is no longer read by llama.cpp; 2 and 3 differ only in that 3 admits big-endian files. */
export const READABLE_VERSIONS: readonly number[] = [2, 3];

/** The version written: `GGUF_VERSION` of gguf.h. */
export const WRITTEN_VERSION = 3;

/** `GGUF_DEFAULT_ALIGNMENT` of gguf.h: alignment of tensor data without `general.alignment`. */
const DEFAULT_ALIGNMENT = 32;

/** The GGUF specification asks for a multiple of 8; below it a mapped f64 or i64 would be read unaligned by native code. */
const MIN_ALIGNMENT = 8;

/** 64 KiB is the largest memory page of the systems Loam runs on; more would only pad the file. */
const MAX_ALIGNMENT = 65_536;

/** Models carry 20 to 100 keys. llama.cpp compares each new key with all before it, so the count also bounds that square. */
export const MAX_METADATA_KEYS = 4_096;

/** The GGUF specification: a key is at most 2^16 - 1 bytes. */
export const MAX_KEY_BYTES = 65_535;

/** Chat templates reach 100 kB, whole tokenizer.json texts (`tokenizer.huggingface.json`) tens of MB. llama.cpp allows 1 GiB. */
export const MAX_STRING_BYTES = 64 * 1024 * 1024;

/** Gemma's 514,000 merges are the longest array known; this is four times that. llama.cpp allows 2^30. */
export const MAX_ARRAY_ELEMENTS = 2 ** 21;

/** Gemma's tokeniser has 1.3 million elements in all. As short strings these many take 200 MB of JavaScript's memory and a second to read (measured). */
export const MAX_TOTAL_ARRAY_ELEMENTS = 2 ** 22;

/**
 * Strings in the arrays of one file. Each takes some 60 bytes of JavaScript's memory and may take 9 of the file. Gemma's tokeniser has
 * 800,000, in a file of 20 MB if it stands alone.
 */
export function mostStrings(fileBytes: number): number {
  return Math.max(500_000, Math.floor(fileBytes / 20));
}

/** The bytes of each string that is not UTF-8 are kept, 300 bytes with their objects (measured): 80 MB for a whole vocabulary of them. */
export const MAX_RAW_STRINGS = 2 ** 18;

/** The largest tokenisers take 20 MB; a phone with 4 GB should not be asked to hold more than this of anything but weights. */
export const MAX_METADATA_BYTES = 128 * 1024 * 1024;

/** The largest models have about 2,000 tensors, their adapters twice that. llama.cpp compares each name with all before it. */
export const MAX_TENSORS = 16_384;

/** `GGML_MAX_NAME` of ggml.h is 64 with the closing NUL; llama.cpp refuses longer names. */
const MAX_TENSOR_NAME_BYTES = 63;

/** `GGML_MAX_DIMS` of ggml.h. */
export const MAX_DIMS = 4;

/** Every entry at its longest: name length, name, number of dimensions, dimensions, type, offset. Names that are too long are still read, to report all problems, but not without end. */
export const MAX_TENSOR_TABLE_BYTES = MAX_TENSORS * (8 + MAX_TENSOR_NAME_BYTES + 4 + MAX_DIMS * 8 + 4 + 8);

/** A damaged table can have a problem per tensor; ten show the pattern. */
const MAX_REPORTED_PROBLEMS = 10;

/** What is wrong with a key, or undefined. llama.cpp compares keys as C strings, so a NUL would make two keys one. */
export function keyProblem({ value, raw }: GgufText): string | undefined {
  if (value === '') return 'is empty';
  if (raw !== undefined) return 'is not UTF-8';
  if (value.includes('\0')) return 'contains a NUL';
  return undefined;
}

/** ggml keeps names as C strings in 64 bytes, so a NUL or a longer name would make two names one. */
export function nameProblem(name: GgufText): string | undefined {
  const bytes = name.raw?.length ?? Buffer.byteLength(name.value);
  if (bytes === 0) return 'has an empty name';
  if (name.raw !== undefined) return 'has a name that is not UTF-8';
  if (name.value.includes('\0')) return 'has a NUL in its name';
  if (bytes > MAX_TENSOR_NAME_BYTES) {
    return `has a name of ${count(bytes)} bytes, expected at most ${MAX_TENSOR_NAME_BYTES}`;
  }
  return undefined;
}

const LARGEST = BigInt(Number.MAX_SAFE_INTEGER);

/**
 * Bytes of a tensor of this type and shape (ggml order, ne0 first), or the problem. Counted in bigint, so that no product
 * of dimensions can wrap; both the elements and the bytes must stay below 2^53, the largest file and index Loam handles.
 */
export function tensorBytes(type: TensorType, shape: readonly bigint[]): number | string {
  if (shape.length < 1 || shape.length > MAX_DIMS) {
    return `has ${count(shape.length)} dimensions, expected 1 to ${MAX_DIMS}`;
  }
  const zero = shape.findIndex((length) => length <= 0n);
  if (zero >= 0) return `has dimension ${zero} of ${shape[zero]}, expected at least 1`;
  const elements = shape.reduce((product, length) => product * length, 1n);
  const sizes = shape.map((length) => count(length)).join(' x ');
  if (elements > LARGEST) return `has ${sizes} elements, expected less than 2^53`;
  if (shape[0]! % BigInt(type.blockSize) !== 0n) {
    return `has rows of ${count(shape[0]!)} values, expected a multiple of ${type.blockSize} (the block of ${type.name})`;
  }
  const bytes = (elements / BigInt(type.blockSize)) * BigInt(type.typeSize);
  if (bytes > LARGEST) return `takes ${count(bytes)} bytes, expected less than 2^53`;
  return Number(bytes);
}

/** `position` rounded up to a multiple of `alignment` (`GGML_PAD` of ggml.h), for whole numbers below 2^53. */
export function alignUp(position: number, alignment: number): number {
  const past = position % alignment;
  return past === 0 ? position : position + alignment - past;
}

/** Bytes that tensor data is aligned to: `general.alignment`, or 32. Throws LoamError for a value that ggml or a memory map cannot use. */
export function alignmentOf(metadata: ReadonlyMap<string, GgufValue>, path: string): number {
  const stored = metadata.get('general.alignment');
  if (stored === undefined) return DEFAULT_ALIGNMENT;
  const where = `${path}, key "general.alignment"`;
  if (stored.type !== 'u32')
    throw new LoamError({ code: 'damaged', found: `stored as ${stored.type}`, expected: 'u32', where });
  return checkAlignment(stored.value, where);
}

/** Returns the alignment in bytes if it is a power of two within the limits; throws LoamError naming `where` otherwise. */
export function checkAlignment(bytes: number, where: string): number {
  // The bounds come first: & works on 32-bit integers only.
  if (bytes >= MIN_ALIGNMENT && bytes <= MAX_ALIGNMENT && (bytes & (bytes - 1)) === 0) return bytes;
  const expected = `a power of two from ${MIN_ALIGNMENT} to ${count(MAX_ALIGNMENT)}`;
  throw new LoamError({ code: 'damaged', found: `an alignment of ${count(bytes)} bytes`, expected, where });
}

/** Several problems as the one thing found: the first ten and how many more there are. */
export function describeProblems(problems: readonly string[], place: string): string {
  if (problems.length === 1) return problems[0]!;
  const numbered = problems.map((problem, i) => `(${i + 1}) ${problem}`);
  return `${count(problems.length)} problems in ${place}: ${listFirst(numbered, MAX_REPORTED_PROBLEMS)}`;
}
