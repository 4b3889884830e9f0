import { join } from 'node:path';
import { applyStream, IV_BYTES } from '../base/crypto.js';
import { openRegularFile, type Positioned, readFully } from '../base/io.js';
import { isRecord } from '../base/json.js';

/** The layout of a checkpoint file, and what stands before its data: written here, and read as from a stranger. */

/**
 * magic (8 bytes), version (u32), bytes of the JSON (u32), the JSON, the arrays' f32 values one after another, and the SHA-256 of
 * all before it. Little-endian, as is every machine that the native libraries are built for.
 */
const MAGIC = Buffer.from('LOAMCKPT', 'latin1');
const VERSION = 1;
export const PREFIX_BYTES = MAGIC.length + 8;
export const HASH_BYTES = 32;

/** Bytes of JSON: 100,000 arrays with long names, far above any model's, and still parsed in a moment. */
const MAX_JSON_BYTES = 16 << 20;

/** Bytes hashed, read or written at once: SHA-256 takes about 4 ms for them on a laptop; events are handled in between. */
export const CHUNK_BYTES = 4 << 20;

export const SLOTS = [0, 1] as const;
/** Two files take turns, so that one is whole whatever happens to the other. */
export type Slot = (typeof SLOTS)[number];

export function slotPath(folder: string, slot: Slot): string {
  return join(folder, `checkpoint-${slot}.loam`);
}

/** Any plain object: what JSON can hold. */
export type CheckpointHeader = Record<string, unknown>;

interface Preamble {
  /** Grows by one with each checkpoint of a run: the newest has the highest. */
  sequence: number;
  header: CheckpointHeader;
  /** In the order of their data. `length` counts f32 values. */
  arrays: { name: string; length: number }[];
}

/** What is wrong with a checkpoint: it is reported, and the one before it is used. */
export class DamagedCheckpoint extends Error {
  override readonly name = 'DamagedCheckpoint';
}

/**
 * The bytes before the data. Numbers in the header come back bit for bit, except that -0 becomes 0.
 * @throws TypeError for a header that JSON would change without a word: NaN and the infinities would come back as null
 */
export function encodePreamble(preamble: Preamble): Buffer {
  const json = JSON.stringify(preamble, (key, value: unknown) => {
    if (typeof value === 'number' && !Number.isFinite(value)) throw new TypeError(`checkpoint: ${key} is ${value}`);
    return value;
  });
  const body = Buffer.from(json, 'utf8');
  if (body.length > MAX_JSON_BYTES) throw new RangeError(`checkpoint: a header of ${body.length} bytes`);
  const prefix = Buffer.alloc(PREFIX_BYTES);
  MAGIC.copy(prefix);
  prefix.writeUInt32LE(VERSION, 8);
  prefix.writeUInt32LE(body.length, 12);
  return Buffer.concat([prefix, body]);
}

/**
 * Reads the bytes before the data of a file of `size` bytes; every size it declares fits the file.
 * @returns what it says, and the bytes as they were
 * @throws DamagedCheckpoint
 */
export async function readPreamble(file: Positioned, size: number): Promise<{ preamble: Preamble; bytes: Buffer }> {
  if (size < PREFIX_BYTES + HASH_BYTES) throw new DamagedCheckpoint(`the file ends after ${size} bytes`);
  const prefix = Buffer.alloc(PREFIX_BYTES);
  await readExactly(file, prefix, 0);
  if (!prefix.subarray(0, MAGIC.length).equals(MAGIC)) throw new DamagedCheckpoint('it does not begin as a checkpoint');
  const version = prefix.readUInt32LE(8);
  if (version !== VERSION) throw new DamagedCheckpoint(`version ${version}, expected ${VERSION}`);
  const length = prefix.readUInt32LE(12);
  const room = Math.min(MAX_JSON_BYTES, size - PREFIX_BYTES - HASH_BYTES);
  if (length > room) throw new DamagedCheckpoint(`a header of ${length} bytes, expected at most ${room}`);
  const body = Buffer.alloc(length);
  await readExactly(file, body, PREFIX_BYTES);
  const preamble = parse(body);
  const values = preamble.arrays.reduce((sum, array) => sum + array.length, 0);
  const expected = PREFIX_BYTES + length + 4 * values + HASH_BYTES;
  if (size !== expected) throw new DamagedCheckpoint(`the file has ${size} bytes, its header tells of ${expected}`);
  return { preamble, bytes: Buffer.concat([prefix, body]) };
}

function parse(body: Buffer): Preamble {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    throw new DamagedCheckpoint('its header is not JSON');
  }
  const { sequence, header, arrays } = (value ?? {}) as Partial<Preamble>;
  // Below the largest safe integer, so that the next one is exact too.
  if (!Number.isSafeInteger(sequence) || sequence! < 0 || sequence! >= Number.MAX_SAFE_INTEGER) {
    throw new DamagedCheckpoint('its header has no sequence number');
  }
  if (!isRecord(header) || !Array.isArray(arrays)) {
    throw new DamagedCheckpoint('its header lacks a part');
  }
  const names = new Set<string>();
  for (const array of arrays as unknown[]) {
    const { name, length } = (array ?? {}) as { name?: unknown; length?: unknown };
    if (typeof name !== 'string' || !Number.isSafeInteger(length) || (length as number) < 0) {
      throw new DamagedCheckpoint('its list of arrays is wrong');
    }
    if (names.has(name)) throw new DamagedCheckpoint('two of its arrays have one name');
    names.add(name);
  }
  return { sequence: sequence!, header, arrays };
}

/** Fills `target` from `position` on. Throws DamagedCheckpoint if the file ends before. */
export async function readExactly(file: Positioned, target: Uint8Array, position: number): Promise<void> {
  const read = await readFully(file, target, position);
  if (read < target.length) throw new DamagedCheckpoint(`the file ends after ${position + read} bytes`);
}

/** A sealed checkpoint begins with this and the initialisation vector; the rest is a checkpoint, encrypted. */
export const SEAL = Buffer.from('LOAMSEAL', 'latin1');
export const SEAL_BYTES = SEAL.length + IV_BYTES;

interface OpenedCheckpoint {
  file: Positioned;
  /** Bytes of the checkpoint itself. */
  size: number;
  close(): Promise<void>;
}

/** Opens a checkpoint for reading; with `key` one that was sealed with it. Throws LoamError, DamagedCheckpoint. */
export async function openCheckpoint(path: string, key: Uint8Array | undefined): Promise<OpenedCheckpoint> {
  const { file, size } = await openRegularFile(path);
  const close = () => file.close();
  if (key === undefined) return { file, size, close };
  try {
    const start = Buffer.alloc(SEAL_BYTES);
    await readExactly(file, start, 0);
    if (!start.subarray(0, SEAL.length).equals(SEAL)) throw new DamagedCheckpoint('it is not a sealed checkpoint');
    const iv = start.subarray(SEAL.length);
    return {
      file: {
        async read(buffer, offset, length, position) {
          const { bytesRead } = await file.read(buffer, offset, length, SEAL_BYTES + position);
          const part = buffer.subarray(offset, offset + bytesRead);
          part.set(applyStream(key, iv, position, part));
          return { bytesRead };
        },
      },
      size: size - SEAL_BYTES,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
