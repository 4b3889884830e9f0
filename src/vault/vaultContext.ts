import { LoamError } from '../util/errors.js';
import { BlobDamaged, type BlobStore, type Pending } from './blobStore.js';
import { VaultDamagedError } from './errors.js';
import type { Change, Entry, VaultIndex } from './vaultIndex.js';

/** What the parts of a vault share. */
export class VaultContext {
  constructor(
    readonly index: VaultIndex,
    readonly blobs: BlobStore,
  ) {}

  /**
   * Changes the index together with blobs: `content` is encrypted first, outside the lock, and named by the index in the same write
   * as the rest. Blobs whose entries go or get another one are removed after it.
   */
  async store<T>(
    content: Uint8Array | undefined,
    decide: (blob: Entry['blob']) => { change: Change; result: T },
  ): Promise<T> {
    let pending: Pending | undefined;
    if (content) pending = await this.blobs.prepare(content);
    try {
      return await this.index.update(async () => {
        const before = this.index.blobs();
        const blob = pending && { name: pending.name, secret: pending.secret };
        const decided = decide(blob);
        if (pending) await this.blobs.publish(pending);
        return {
          ...decided,
          after: async () => {
            const now = this.index.blobs();
            await this.blobs.remove([...before].filter((name) => !now.has(name)));
          },
        };
      });
    } catch (error) {
      if (pending) await this.abandon(pending);
      throw error;
    }
  }

  /** The write of the index may have come through all the same (an error after its rename). */
  private async abandon(pending: Pending): Promise<void> {
    try {
      if (this.index.blobs().has(pending.name)) return;
    } catch {
      // A vault that cannot be read names no blobs; the next one that opens it sweeps.
      return;
    }
    await this.blobs.discard(pending);
  }

  /** The content of an entry. @param what names it in a message: `the data set "mine"` */
  async content(entry: Entry, bytes: number, what: string): Promise<Uint8Array> {
    const { blob } = entry;
    try {
      if (!blob) throw new BlobDamaged('the index does not name its file');
      return await this.blobs.read(blob.name, blob.secret, bytes);
    } catch (error) {
      if (!(error instanceof BlobDamaged)) throw error;
      if (this.index.get(entry.id)?.blob?.name !== blob?.name) {
        throw new LoamError({ found: `${what} was deleted or replaced while it was read`, fix: 'run again' });
      }
      throw new VaultDamagedError(
        {
          found: `${what} is damaged (${error.message}) and cannot be read; everything else in the vault can`,
          where: blob && `blobs/${blob.name}`,
          fix: 'restore the file from a copy, or delete it',
        },
        { cause: error },
      );
    }
  }
}
