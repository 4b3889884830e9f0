import { createCipheriv, randomBytes } from 'node:crypto';

export const IV_BYTES = 16;
const BLOCK_BYTES = 16;

export function newIv(): Buffer {
  return randomBytes(IV_BYTES);
}

/**
 * AES-256-CTR (NIST SP 800-38A) at any place of a stream: encrypts and decrypts `bytes` that stand `position` bytes from its beginning.
 * It hides, and does not tell whether something was changed. One `iv` is for one content: never encrypt two under the same.
 */
export function applyStream(key: Uint8Array, iv: Uint8Array, position: number, bytes: Uint8Array): Buffer {
  // Addition modulo 2^128, as the counter of the mode counts.
  const counter =
    (BigInt(`0x${Buffer.from(iv).toString('hex')}`) + BigInt(Math.floor(position / BLOCK_BYTES))) % (1n << 128n);
  const cipher = createCipheriv(
    'aes-256-ctr',
    key,
    Buffer.from(counter.toString(16).padStart(2 * IV_BYTES, '0'), 'hex'),
  );
  const skip = position % BLOCK_BYTES;
  if (skip > 0) cipher.update(new Uint8Array(skip));
  return cipher.update(bytes);
}
