import { hashFile } from '../catalog/hashFile.js';

/** The recorded SHA-256 of a model, or that of its file. */
export async function hashOrKnown(
  { path, sha256 }: { path: string; sha256: string | null },
  signal?: AbortSignal,
): Promise<string> {
  if (sha256 !== null) return sha256;
  const hashing = hashFile(path, signal);
  for (;;) {
    const { done, value } = await hashing.next();
    if (done) return value;
  }
}
