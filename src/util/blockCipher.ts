import { createCipheriv, randomBytes } from 'node:crypto';

/**
 * Hides the blocks of a temporary file under a key that only this process has, and that is gone with it (AES-256-CTR). Each writing of a
 * block has a keystream of its own: its number and how often it was written begin the counter.
 */
export class BlockCipher {
  private readonly key = randomBytes(32);
  private readonly written = new Map<number, number>();

  /** The block as it is to be written. @param block its number, below 2^32 */
  encrypt(block: number, bytes: Uint8Array): Buffer {
    const times = (this.written.get(block) ?? 0) + 1;
    this.written.set(block, times);
    return this.apply(block, times, bytes);
  }

  /** The block as it was, in place. */
  decrypt(block: number, bytes: Uint8Array): void {
    bytes.set(this.apply(block, this.written.get(block) ?? 0, bytes));
  }

  private apply(block: number, times: number, bytes: Uint8Array): Buffer {
    const counter = Buffer.alloc(16);
    counter.writeUInt32BE(block, 0);
    counter.writeUInt32BE(times, 4);
    return createCipheriv('aes-256-ctr', this.key, counter).update(bytes);
  }
}
