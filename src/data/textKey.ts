import { createHash } from 'node:crypto';

/** A short stand-in for texts as map keys: 128 bits of their SHA-256, so that a map of a million texts stays small. */
export function textKey(...texts: string[]): string {
  const hash = createHash('sha256');
  // The length first, so that ('ab', 'c') and ('a', 'bc') differ.
  for (const text of texts) hash.update(`${text.length}:`).update(text);
  return hash.digest().toString('latin1', 0, 16);
}
