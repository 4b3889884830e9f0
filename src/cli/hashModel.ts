import { stat } from 'node:fs/promises';
import { hashFile } from '../catalog/hashFile.js';
import type { Output } from './output.js';

/** The SHA-256 of a model's file, with a progress line. */
export async function hashModel(path: string, output: Output, signal: AbortSignal): Promise<string> {
  const { size } = await stat(path);
  const hashing = hashFile(path, signal);
  for (;;) {
    const { done, value } = await hashing.next();
    if (done) return value;
    output.progress('hashing the model', value, size);
  }
}
