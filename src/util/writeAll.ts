import type { FileHandle } from 'node:fs/promises';

/** Bytes handed to the system at once: it takes less than 2^31 a call. */
const WRITE_BYTES = 64 * 1024 * 1024;

/** Writes all bytes at the file's position: one call of the system may take only some of them. */
export async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, Math.min(WRITE_BYTES, bytes.length - done))).bytesWritten;
  }
}
