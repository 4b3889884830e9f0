import { openRegularFile } from '../util/openRegularFile.js';
import { applyStream, IV_BYTES } from '../util/sealedStream.js';
import { DamagedCheckpoint, type Positioned, readFully } from './checkpointFile.js';

/** A sealed checkpoint begins with this and the initialisation vector; the rest is a checkpoint, encrypted. */
export const SEAL = Buffer.from('LOAMSEAL', 'latin1');
export const SEAL_BYTES = SEAL.length + IV_BYTES;

export interface OpenedCheckpoint {
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
    await readFully(file, start, 0);
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
