import { resolve } from 'node:path';
import { UsageError } from '../util/errors.js';

/** The path of --out, which `embed` and the other steps don't choose themselves: what they write can be large. */
export function requireOut(out: string | undefined): string {
  if (out !== undefined) return resolve(out);
  throw new UsageError({ found: 'no --out', expected: 'the path to write to', fix: 'see --help' });
}
