import { LoamError, UnsupportedError } from '../util/errors.js';
import { count } from '../util/format.js';
import { quote } from '../util/quote.js';
import type { ByteReader } from './ByteReader.js';
import { checkAlignment } from './checkAlignment.js';
import { DEFAULT_ALIGNMENT, MAX_KEY_BYTES, MAX_METADATA_BYTES, MAX_METADATA_KEYS } from './limits.js';
import { readText, readValue } from './readValue.js';
import type { GgufText, GgufValue } from './values.js';

/** Key length, one byte of key, type, one byte of value. */
const SMALLEST_ENTRY = 8 + 1 + 4 + 1;

/** What is wrong with a key, or undefined. llama.cpp compares keys as C strings, so a NUL would make two keys one. */
export function keyProblem({ value, raw }: GgufText): string | undefined {
  if (value === '') return 'is empty';
  if (raw !== undefined) return 'is not UTF-8';
  if (value.includes('\0')) return 'contains a NUL';
  return undefined;
}

/** Reads `keys` key-value pairs in file order. Throws LoamError for duplicates, malformed keys or values, and past the limits. */
export async function readMetadata(reader: ByteReader, keys: bigint): Promise<Map<string, GgufValue>> {
  const where = reader.path;
  if (keys > MAX_METADATA_KEYS) {
    const expected = `at most ${count(MAX_METADATA_KEYS)}`;
    throw new LoamError({ found: `the header declares ${count(keys)} metadata keys`, expected, where });
  }
  reader.startLimit(MAX_METADATA_BYTES, 'the metadata');
  reader.require(Number(keys) * SMALLEST_ENTRY, `the metadata of ${count(keys)} keys`);
  const metadata = new Map<string, GgufValue>();
  const budget = { elements: 0, raw: 0 };
  for (let i = 0; i < Number(keys); i++) {
    const key = await readText(reader, MAX_KEY_BYTES, `metadata key ${i}`);
    const problem = keyProblem(key);
    if (problem !== undefined) {
      const found = `metadata key ${i}, ${quote(key.value)}, ${problem}`;
      throw new LoamError({ found, expected: 'UTF-8 text', where });
    }
    if (metadata.has(key.value)) {
      throw new LoamError({ found: `metadata key ${quote(key.value)} is there twice`, expected: 'once', where });
    }
    metadata.set(key.value, await readValue(reader, budget, `key ${quote(key.value)}`));
  }
  reader.endLimit();
  return metadata;
}

/** Bytes that tensor data is aligned to: `general.alignment`, or 32. Throws LoamError for a value that ggml or a memory map cannot use. */
export function alignmentOf(metadata: ReadonlyMap<string, GgufValue>, path: string): number {
  const stored = metadata.get('general.alignment');
  if (stored === undefined) return DEFAULT_ALIGNMENT;
  const where = `${path}, key "general.alignment"`;
  if (stored.type !== 'u32') throw new LoamError({ found: `stored as ${stored.type}`, expected: 'u32', where });
  return checkAlignment(stored.value, where);
}

/** Throws UnsupportedError for one part of a model split over several files (`split.count` above 1, u16 in llama.cpp). */
export function refuseSplit(metadata: ReadonlyMap<string, GgufValue>, path: string): void {
  const parts = metadata.get('split.count')?.value;
  if ((typeof parts === 'number' || typeof parts === 'bigint') && parts > 1) {
    throw new UnsupportedError({
      found: `this is one of ${count(parts)} parts of a split model`,
      expected: 'a single file',
      where: path,
      fix: 'join the parts with "llama-gguf-split --merge FIRST_PART OUT.gguf"',
    });
  }
}
