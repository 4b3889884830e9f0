import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { applyStream, newIv } from '../util/sealedStream.js';
import { syncFolder } from '../util/syncFolder.js';
import { writeFileAtomic } from '../util/writeFileAtomic.js';
import { CHUNK_BYTES, type CheckpointHeader, encodePreamble, type Slot, slotPath } from './checkpointFile.js';
import { SEAL, SEAL_BYTES } from './openCheckpoint.js';
import { probeSlots } from './probeSlots.js';

export interface WrittenCheckpoint {
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
  arrays: ReadonlyMap<string, Float32Array>,
  key?: Uint8Array,
): Promise<WrittenCheckpoint> {
  const probed = await probeSlots(folder, key);
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
      await append(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
    }
    await append(hash.copy().digest());
    bytes = position + (iv ? SEAL_BYTES : 0);
  });
  await syncFolder(folder);
  return { slot: chosen, sequence, path, bytes };
}

/** The slot to replace. `probed` holds the sequence of each, undefined where there is none. */
function olderSlot([first, second]: readonly (number | undefined)[]): Slot {
  if (first === undefined) return 0;
  if (second === undefined) return 1;
  return first < second ? 0 : 1;
}

async function writeAll(file: FileHandle, data: Uint8Array): Promise<void> {
  let done = 0;
  while (done < data.length) done += (await file.write(data, done, data.length - done)).bytesWritten;
}
