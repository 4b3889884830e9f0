import { createHash } from 'node:crypto';
import { makeFolder, readBounded, writeFileAtomic } from '../base/io.js';
import { loamHome } from '../base/process.js';

/**
 * What a base model was found to make of bundled texts, which never changes: a small file in LOAM_HOME, by the model's hash and by the
 * tokens that it was given.
 */
export class Kept {
  private readonly path: string;

  /** @param way what was computed, and how: what is computed in another way has other last bits */
  constructor(sha256: string, way: string, tokens: Iterable<ArrayLike<number>>) {
    const hash = createHash('sha256').update(`${sha256} ${way}\n`);
    for (const list of tokens) hash.update(`${Array.from(list).join()}\n`);
    this.path = loamHome('general', hash.digest('hex').slice(0, 32));
  }

  /** @returns undefined where there is nothing, or more than that @param most bytes */
  async read(most: number): Promise<Uint8Array | undefined> {
    try {
      return await readBounded(this.path, most);
    } catch {
      return undefined;
    }
  }

  /** Where nothing can be written it is computed each time. */
  async write(content: Uint8Array | string): Promise<void> {
    try {
      await makeFolder(loamHome('general'), 0o700);
      await writeFileAtomic(this.path, content);
    } catch {}
  }
}
