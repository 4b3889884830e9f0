import { createHash } from 'node:crypto';
import { LoamError } from '../util/errors.js';
import {
  CHUNK_BYTES,
  type CheckpointHeader,
  DamagedCheckpoint,
  HASH_BYTES,
  type Positioned,
  readFully,
  readPreamble,
  SLOTS,
  type Slot,
  slotPath,
} from './checkpointFile.js';
import { openCheckpoint } from './openCheckpoint.js';

export interface Checkpoint {
  header: CheckpointHeader;
  /** In the order in which they were written. */
  arrays: Map<string, Float32Array>;
  sequence: number;
  /** Where it was found: the next checkpoint belongs in the other slot. */
  slot: Slot;
}

/** A checkpoint that was passed over. `reason` is part of a sentence: "its SHA-256 does not match". */
export interface DamagedFile {
  file: string;
  reason: string;
}

/**
 * The newest checkpoint of a folder that is whole. Files are taken for hostile: sizes are held against the file before anything
 * is allocated, unknown versions are refused, and nothing is returned whose hash does not match.
 *
 * @param key the one they were sealed with, if they were
 * @returns no `checkpoint` where there is none, or none that is whole; `damaged` names those that are not
 */
export async function readCheckpoint(
  folder: string,
  key?: Uint8Array,
): Promise<{ checkpoint?: Checkpoint; damaged: DamagedFile[] }> {
  const damaged: DamagedFile[] = [];
  const attempt = async <T>(slot: Slot, work: (file: Positioned, size: number) => Promise<T>) => {
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
  };
  const found: { slot: Slot; sequence: number }[] = [];
  for (const slot of SLOTS) {
    const sequence = await attempt(slot, async (file, size) => (await readPreamble(file, size)).preamble.sequence);
    if (sequence !== undefined) found.push({ slot, sequence });
  }
  for (const { slot } of found.sort((a, b) => b.sequence - a.sequence)) {
    const whole = await attempt(slot, readWhole);
    if (whole !== undefined) return { checkpoint: { ...whole, slot }, damaged };
  }
  return { damaged };
}

async function readWhole(file: Positioned, size: number): Promise<Omit<Checkpoint, 'slot'>> {
  const { preamble, bytes } = await readPreamble(file, size);
  const hash = createHash('sha256').update(bytes);
  const arrays = new Map<string, Float32Array>();
  let position = bytes.length;
  for (const { name, length } of preamble.arrays) {
    const array = new Float32Array(length);
    const target = new Uint8Array(array.buffer);
    for (let at = 0; at < target.length; at += CHUNK_BYTES) {
      const chunk = target.subarray(at, at + CHUNK_BYTES);
      await readFully(file, chunk, position);
      hash.update(chunk);
      position += chunk.length;
    }
    arrays.set(name, array);
  }
  const stored = Buffer.alloc(HASH_BYTES);
  await readFully(file, stored, position);
  if (!hash.digest().equals(stored)) throw new DamagedCheckpoint('its SHA-256 does not match');
  return { header: preamble.header, arrays, sequence: preamble.sequence };
}

/** Why a file is of no use; undefined for one that is not there. Throws what is neither damage nor the disk's fault. */
function reasonOf(error: unknown): string | undefined {
  if (error instanceof DamagedCheckpoint) return error.message;
  // Raised by openRegularFile, in words; the cause is the system's error.
  if (error instanceof LoamError) {
    return (error.cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT' ? undefined : error.fault.found;
  }
  const code = (error as NodeJS.ErrnoException)?.code;
  if (typeof code === 'string') return `it cannot be read (${code})`;
  if (error instanceof RangeError) return 'it does not fit in memory';
  throw error;
}
