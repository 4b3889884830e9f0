import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LoamError } from '../base/errors.js';
import type { ByteSource } from '../formats/gguf/bytes.js';
import type { Gguf } from '../formats/gguf/Gguf.js';
import { parseGguf } from '../formats/gguf/readGguf.js';

/** GGUF files assembled byte by byte for the tests, well-formed or not, without the writer under test. */

export function le32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export function le64(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

/** u64 length and bytes. */
export function rawText(text: string | Uint8Array): Buffer {
  const bytes = Buffer.from(text as string);
  return Buffer.concat([le64(bytes.length), bytes]);
}

export interface RawTensor {
  name: string | Uint8Array;
  dims: (number | bigint)[];
  /** Id of the type; 0 is f32. */
  type?: number;
  offset: number | bigint;
}

export function rawTensor({ name, dims, type = 0, offset }: RawTensor): Buffer {
  return Buffer.concat([rawText(name), le32(dims.length), ...dims.map(le64), le32(type), le64(offset)]);
}

/** A key with its type id and the bytes of its value. */
export function rawKey(key: string | Uint8Array, type: number, ...value: Uint8Array[]): Buffer {
  return Buffer.concat([rawText(key), le32(type), ...value]);
}

export interface RawGguf {
  version?: number;
  /** Declared counts, where they are not those of `keys` and `tensors`. */
  keyCount?: number | bigint;
  tensorCount?: number | bigint;
  keys?: Uint8Array[];
  tensors?: (RawTensor | Uint8Array)[];
  alignment?: number;
  /** Bytes of the data section. */
  data?: number;
}

export function rawGguf(raw: RawGguf): Buffer {
  const { version = 3, keys = [], tensors = [], alignment = 32, data = 0 } = raw;
  const head = Buffer.concat([
    Buffer.from('GGUF'),
    le32(version),
    le64(raw.tensorCount ?? tensors.length),
    le64(raw.keyCount ?? keys.length),
    ...keys,
    ...tensors.map((tensor) => (tensor instanceof Uint8Array ? tensor : rawTensor(tensor))),
  ]);
  const padding = (alignment - (head.length % alignment)) % alignment;
  return Buffer.concat([head, Buffer.alloc(padding + data)]);
}

/** Bytes in memory as a source that keeps count of what is asked of it. `size` beyond the bytes reads as zeros, as a sparse file does. */
export class MemorySource implements ByteSource {
  /** Bytes read in all. */
  bytesRead = 0;
  constructor(
    private readonly bytes: Uint8Array,
    readonly size = bytes.length,
  ) {}

  async read(into: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }> {
    const bytesRead = Math.min(length, this.size - position);
    into.fill(0, offset, offset + bytesRead);
    into.set(this.bytes.subarray(position, position + bytesRead), offset);
    this.bytesRead += bytesRead;
    return { bytesRead };
  }
}

export function parse(bytes: Uint8Array): Promise<Gguf> {
  return parseGguf(new MemorySource(bytes), 'm.gguf');
}

/** The LoamError that reading these bytes ends in; fails for success and for any other error. */
export async function refusal(source: Uint8Array | ByteSource): Promise<LoamError> {
  let gguf: Gguf;
  try {
    gguf = await parseGguf(source instanceof Uint8Array ? new MemorySource(source) : source, 'm.gguf');
  } catch (error) {
    if (error instanceof LoamError) return error;
    throw error;
  }
  throw new Error(`read without error: ${gguf.metadata.size} keys, ${gguf.tensors.size} tensors`);
}

/** Runs `use` with the path of a fresh file holding `bytes`, in a folder that is then removed. */
export async function withFile<R>(bytes: Uint8Array | string, use: (path: string) => Promise<R>): Promise<R> {
  return withFolder(async (folder) => {
    const path = join(folder, 'm.gguf');
    await writeFile(path, bytes);
    return use(path);
  });
}

export async function withFolder<R>(use: (folder: string) => Promise<R>): Promise<R> {
  const folder = await mkdtemp(join(tmpdir(), 'loam-gguf-'));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}
