import type { FileHandle } from 'node:fs/promises';

/** Bytes asked of the system at once; Node refuses reads of 2^31 bytes and more. */
const READ_BYTES = 64 * 1024 * 1024;

/** Fills `target` from `position` on. @returns bytes read: fewer than asked for only where the file ends */
export async function readFully(file: FileHandle, target: Uint8Array, position: number): Promise<number> {
  let done = 0;
  while (done < target.length) {
    const length = Math.min(READ_BYTES, target.length - done);
    const { bytesRead } = await file.read(target, done, length, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}
