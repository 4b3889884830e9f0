import { stat } from 'node:fs/promises';
import { hashFile } from '../catalog/hashFile.js';
import type { TuneEvent } from './events.js';

/** sha256 of a file, hex, telling how far it is. */
export async function hashWithProgress(
  path: string,
  emit: (event: Extract<TuneEvent, { type: 'progress' }>) => void,
  signal: AbortSignal,
): Promise<string> {
  const { size } = await stat(path);
  const hashing = hashFile(path, signal);
  for (;;) {
    const { done, value } = await hashing.next();
    if (done) return value;
    emit({ type: 'progress', stage: 'hash', done: value, total: size });
  }
}
