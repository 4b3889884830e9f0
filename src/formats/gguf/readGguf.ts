import { LoamError, quote, UnsupportedError } from '../../base/errors.js';
import { count } from '../../base/format.js';
import { explainReadError, openRegularFile } from '../../base/io.js';
import { ByteReader, type ByteSource } from './bytes.js';
import { describeForeign } from './describeForeign.js';
import { Gguf, type GgufText, type GgufValue } from './Gguf.js';
import {
  DEFAULT_ALIGNMENT,
  MAX_KEY_BYTES,
  MAX_METADATA_BYTES,
  MAX_METADATA_KEYS,
  READABLE_VERSIONS,
  readText,
  readValue,
} from './readValue.js';
import { checkAlignment, readTensorTable } from './tensorTable.js';

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
async function readMetadata(reader: ByteReader, keys: bigint): Promise<Map<string, GgufValue>> {
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
function refuseSplit(metadata: ReadonlyMap<string, GgufValue>, path: string): void {
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

/** Enough of a file's beginning to tell what it is if it is not GGUF. */
const HEAD_BYTES = 512;

function checkVersion(version: number, where: string): void {
  if (READABLE_VERSIONS.includes(version)) return;
  const expected = `version ${READABLE_VERSIONS.join(' or ')}`;
  if (version === 1) {
    const fix = 'look for a newer GGUF of this model, or convert it again';
    throw new UnsupportedError({ found: 'this is a GGUF v1 file', expected, where, fix });
  }
  // The test of gguf.cpp: a version stored the other way round has its low 16 bits clear.
  if (version !== 0 && (version & 0xffff) === 0) {
    const fix = 'look for a little-endian GGUF of this model, or convert it again';
    throw new UnsupportedError({
      found: 'this is a big-endian GGUF file',
      expected: 'a little-endian one',
      where,
      fix,
    });
  }
  const fix = version > Math.max(...READABLE_VERSIONS) ? 'update Loam if there is a newer GGUF version' : undefined;
  throw new UnsupportedError({ found: `this is a GGUF v${version} file`, expected, where, fix });
}

/** As `readGguf`, from any source of bytes; `path` is for messages. */
export async function parseGguf(source: ByteSource, path: string): Promise<Gguf> {
  const where = path;
  if (source.size === 0) {
    throw new LoamError({ found: 'the file is empty', expected: 'a GGUF file', where, fix: 'download it again' });
  }
  const reader = new ByteReader(source, path);
  const headBytes = Math.min(HEAD_BYTES, source.size);
  await reader.need(headBytes, 'the header');
  const head = reader.peek(headBytes);
  // A file cut within the magic is truncated, not foreign.
  const magic = Buffer.from('GGUF').subarray(0, headBytes);
  if (!magic.equals(head.subarray(0, magic.length))) throw new LoamError({ ...describeForeign(head), where });
  await reader.need(24, 'the header');
  reader.u32(); // the magic
  const version = reader.u32();
  checkVersion(version, where);
  const tensorCount = reader.u64();
  const keyCount = reader.u64();
  const metadata = await readMetadata(reader, keyCount);
  const alignment = alignmentOf(metadata, path);
  refuseSplit(metadata, path);
  const { tensors, dataOffset } = await readTensorTable(reader, tensorCount, alignment);
  return new Gguf({ path, size: source.size, version, metadata, tensors, dataOffset, alignment });
}

/**
 * Reads and checks header, metadata and tensor table of a GGUF file (v2 or v3, little-endian), but no weights. At least
 * as strict as `gguf_init_from_file` of llama.cpp (ggml/src/gguf.cpp), so that nothing malformed reaches native code.
 * Throws LoamError for a file that is malformed, foreign or truncated, UnsupportedError for one that Loam does not read.
 */
export async function readGguf(path: string): Promise<Gguf> {
  const { file, size } = await openRegularFile(path);
  try {
    if (!Number.isSafeInteger(size)) {
      throw new UnsupportedError({ found: `a file of ${count(size)} bytes`, expected: 'less than 2^53', where: path });
    }
    const read = async (into: Uint8Array, position: number): Promise<number> =>
      (await file.read(into, 0, into.length, position)).bytesRead;
    return await parseGguf({ size, read }, path);
  } catch (error) {
    throw explainReadError(error, path);
  } finally {
    await file.close();
  }
}
