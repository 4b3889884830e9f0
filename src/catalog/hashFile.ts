import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { throwIfStopped } from '../util/errors.js';

/** Large reads keep flash storage near its sequential speed. */
const CHUNK = 4 * 1024 * 1024;

/** SHA-256 of a file, hex, read once; yields the bytes done after each chunk. Throws the file system's errors, StoppedError. */
export async function* hashFile(path: string, signal?: AbortSignal): AsyncGenerator<number, string> {
  const file = await open(path, 'r');
  try {
    const hash = createHash('sha256');
    const buffer = Buffer.allocUnsafe(CHUNK);
    let done = 0;
    for (;;) {
      throwIfStopped(signal);
      const { bytesRead } = await file.read(buffer, 0, CHUNK, done);
      if (bytesRead === 0) return hash.digest('hex');
      hash.update(buffer.subarray(0, bytesRead));
      done += bytesRead;
      yield done;
    }
  } finally {
    await file.close();
  }
}
