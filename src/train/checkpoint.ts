import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { applyStream, newIv } from '../base/crypto.js';
import { LoamError, systemCode } from '../base/errors.js';
import { explainWriteError, type Positioned, syncFolder, writeAll, writeFileAtomic } from '../base/io.js';
import {
  CHUNK_BYTES,
  type CheckpointHeader,
  DamagedCheckpoint,
  encodePreamble,
  HASH_BYTES,
  openCheckpoint,
  readExactly,
  readPreamble,
  SEAL,
  SEAL_BYTES,
  SLOTS,
  type Slot,
  slotPath,
} from './checkpointFile.js';

/** Values that are not in memory at once: activations of all examples. Its name in a checkpoint begins with `STREAM`. */
export interface Stream {
  /** f32 values of all its blocks. */
  readonly length: number;
  blocks(): AsyncIterable<Float32Array>;
}
export const STREAM = 'stream ';

interface Checkpoint {
  header: CheckpointHeader;
  /** In the order in which they were written; without streams, see `readStream`. */
  arrays: Map<string, Float32Array>;
  /** Names of its streams. */
  streams: ReadonlySet<string>;
  sequence: number;
  /** Where it was found: the next checkpoint belongs in the other slot. */
  slot: Slot;
}

/** A checkpoint that was passed over. `reason` is part of a sentence: "its SHA-256 does not match". */
interface DamagedFile {
  file: string;
  reason: string;
}

/**
 * The newest checkpoint of a folder that is whole. Files are taken for hostile: sizes are held against the file before anything
 * is allocated, unknown versions are refused, and nothing is returned whose hash does not match.
 *
 * @param key the one they were sealed with, if they were
 * @returns no `checkpoint` if there is none, or none that is whole; `damaged` names those that are not
 */
export async function readCheckpoint(
  folder: string,
  key?: Uint8Array,
): Promise<{ checkpoint?: Checkpoint; damaged: DamagedFile[] }> {
  const damaged: DamagedFile[] = [];
  const found: { slot: Slot; sequence: number }[] = [];
  for (const slot of SLOTS) {
    const sequence = await attempt({ folder, key }, slot, readSequence, damaged);
    if (sequence !== undefined) found.push({ slot, sequence });
  }
  let checkpoint: Checkpoint | undefined;
  for (const { slot } of found.sort((a, b) => b.sequence - a.sequence)) {
    // Damage may have made a sequence lower: the others are looked through too, so that it is told.
    const read = checkpoint === undefined ? readWhole : verify;
    const whole = await attempt<Omit<Checkpoint, 'slot'> | undefined>({ folder, key }, slot, read, damaged);
    if (whole) checkpoint = { ...whole, slot };
  }
  return { ...(checkpoint && { checkpoint }), damaged };
}

/** Works with the file of a slot; undefined if it is not there, or is of no use, which `damaged` is then told. */
async function attempt<T>(
  { folder, key }: { folder: string; key: Uint8Array | undefined },
  slot: Slot,
  work: (file: Positioned, size: number) => Promise<T>,
  damaged: DamagedFile[],
): Promise<T | undefined> {
  const path = slotPath(folder, slot);
  try {
    const { file, size, close } = await openCheckpoint(path, key);
    try {
      return await work(file, size);
    } finally {
      await close();
    }
  } catch (error) {
    const reason = reasonOf(error);
    if (reason !== undefined) damaged.push({ file: path, reason });
    return undefined;
  }
}

/** Reads the header only: quick, but blind to damage in the data. */
async function readSequence(file: Positioned, size: number): Promise<number> {
  return (await readPreamble(file, size)).preamble.sequence;
}

/** Throws DamagedCheckpoint unless the file is whole. */
async function verify(file: Positioned, size: number): Promise<undefined> {
  const room = new Uint8Array(CHUNK_BYTES);
  await readThrough(file, size, (_, length) => room.subarray(0, length));
}

async function readWhole(file: Positioned, size: number): Promise<Omit<Checkpoint, 'slot'>> {
  const arrays = new Map<string, Float32Array>();
  const streams = new Set<string>();
  const room = new Uint8Array(CHUNK_BYTES);
  const { header, sequence } = await readThrough(file, size, (name, length, at, all) => {
    if (name.startsWith(STREAM)) {
      streams.add(name);
      return room.subarray(0, length);
    }
    if (!arrays.has(name)) arrays.set(name, new Float32Array(all / 4));
    return new Uint8Array(arrays.get(name)!.buffer, at, length);
  });
  return { header, arrays, streams, sequence };
}

/**
 * A stream of a checkpoint that `readCheckpoint` has found whole, in blocks of these sizes.
 * @throws LoamError: damaged, if it is not there any more, or is another's
 */
export async function* readStream(
  { folder, slot, key }: { folder: string; slot: Slot; key: Uint8Array | undefined },
  name: string,
  sizes: readonly number[],
): AsyncGenerator<Float32Array, void, void> {
  const path = slotPath(folder, slot);
  const { file, size, close } = await openCheckpoint(path, key);
  try {
    const { preamble, bytes } = await readPreamble(file, size);
    let at = bytes.length;
    for (const array of preamble.arrays) {
      if (array.name === name && array.length === sizes.reduce((sum, n) => sum + n, 0)) {
        for (const length of sizes) {
          const block = new Float32Array(length);
          await readExactly(file, new Uint8Array(block.buffer), at);
          at += 4 * length;
          yield block;
        }
        return;
      }
      at += 4 * array.length;
    }
    throw new DamagedCheckpoint('it does not fit this run');
  } catch (error) {
    if (!(error instanceof DamagedCheckpoint)) throw error;
    throw new LoamError(
      {
        code: 'damaged',
        found: `the checkpoint cannot be used: ${error.message}`,
        where: path,
        fix: 'start over with --restart',
      },
      { cause: error },
    );
  } finally {
    await close();
  }
}

/** Reads all of a file. @param place where `length` bytes of an array go that begin at its byte `at` of `all` */
async function readThrough(
  file: Positioned,
  size: number,
  place: (name: string, length: number, at: number, all: number) => Uint8Array,
): Promise<{ header: CheckpointHeader; sequence: number }> {
  const { preamble, bytes } = await readPreamble(file, size);
  const hash = createHash('sha256').update(bytes);
  let position = bytes.length;
  for (const { name, length } of preamble.arrays) {
    const all = 4 * length;
    if (all === 0) place(name, 0, 0, 0);
    for (let at = 0; at < all; at += CHUNK_BYTES) {
      const chunk = place(name, Math.min(CHUNK_BYTES, all - at), at, all);
      await readExactly(file, chunk, position);
      hash.update(chunk);
      position += chunk.length;
    }
  }
  const stored = Buffer.alloc(HASH_BYTES);
  await readExactly(file, stored, position);
  if (!hash.digest().equals(stored)) throw new DamagedCheckpoint('its SHA-256 does not match');
  return { header: preamble.header, sequence: preamble.sequence };
}

/** Why a file is of no use; undefined for one that is not there. Throws what is neither damage nor the disk's fault. */
function reasonOf(error: unknown): string | undefined {
  if (error instanceof DamagedCheckpoint) return error.message;
  if (error instanceof LoamError) return error.code === 'not-found' ? undefined : error.fault.found;
  const code = systemCode(error);
  if (typeof code === 'string') return `it cannot be read (${code})`;
  if (error instanceof RangeError) return 'it does not fit in memory';
  throw error;
}

interface WrittenCheckpoint {
  slot: Slot;
  sequence: number;
  path: string;
  bytes: number;
}

/**
 * Writes a checkpoint that appears complete or not at all: the file of a slot is replaced only when the new one is on the disk, so a
 * full disk or a power cut leaves both older ones. It needs room for a third while it is written.
 *
 * One writer at a time (the run's lock sees to it). `header` and `arrays` must not change until it has resolved.
 *
 * @param slot 'auto': the empty, unreadable or older slot, told by the headers alone. After a resume give the slot that was not read,
 *   because damage to the data shows only to `readCheckpoint`.
 * @param arrays kept bit for bit, payloads of NaN included
 * @param key encrypts the file (AES-256-CTR)
 * @throws LoamError when the disk is full or read-only, TypeError for a header that JSON cannot hold
 */
export async function writeCheckpoint(
  folder: string,
  slot: Slot | 'auto',
  header: CheckpointHeader,
  arrays: ReadonlyMap<string, Float32Array | Stream>,
  key?: Uint8Array,
): Promise<WrittenCheckpoint> {
  // Whatever is wrong with a slot: it may be written, and an error of the disk will show then.
  const probed = await Promise.all(SLOTS.map((slot) => attempt({ folder, key }, slot, readSequence, [])));
  const chosen = slot === 'auto' ? olderSlot(probed) : slot;
  const sequence = 1 + Math.max(-1, ...probed.map((found) => found ?? -1));
  const preamble = encodePreamble({
    sequence,
    header,
    arrays: [...arrays].map(([name, { length }]) => ({ name, length })),
  });
  const path = slotPath(folder, chosen);
  let bytes = 0;
  await writeFileAtomic(path, async (file) => {
    const hash = createHash('sha256');
    const iv = key && newIv();
    let position = 0;
    const append = async (data: Uint8Array) => {
      for (let at = 0; at < data.length; at += CHUNK_BYTES) {
        const chunk = data.subarray(at, at + CHUNK_BYTES);
        hash.update(chunk);
        await writeAll(file, key && iv ? applyStream(key, iv, position, chunk) : chunk);
        position += chunk.length;
      }
    };
    if (iv) await writeAll(file, Buffer.concat([SEAL, iv]));
    await append(preamble);
    for (const array of arrays.values()) {
      for await (const block of array instanceof Float32Array ? [array] : array.blocks()) {
        await append(new Uint8Array(block.buffer, block.byteOffset, block.byteLength));
      }
    }
    await append(hash.copy().digest());
    bytes = position + (iv ? SEAL_BYTES : 0);
  });
  return { slot: chosen, sequence, path, bytes };
}

/** The slot to replace. `probed` holds the sequence of each, undefined if there is none. */
function olderSlot([first, second]: readonly (number | undefined)[]): Slot {
  if (first === undefined) return 0;
  if (second === undefined) return 1;
  return first < second ? 0 : 1;
}

/** Removes every checkpoint of a folder for good: none comes back after a power cut. */
export async function removeCheckpoints(folder: string): Promise<void> {
  try {
    for (const slot of SLOTS) await rm(slotPath(folder, slot), { recursive: true, force: true });
    await syncFolder(folder);
  } catch (error) {
    throw explainWriteError(error, folder);
  }
}
