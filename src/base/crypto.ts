import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

/** Sealing (AES-256-GCM), keys for one purpose each (HKDF), and a stream that can be read anywhere (AES-256-CTR). */

/** Bytes of a key. */
export const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const VERSION = 1;

/**
 * AES-256-GCM: version (1 byte), nonce (12), ciphertext, tag (16). Nonces are random, good for 2^32 messages per key (NIST SP 800-38D,
 * 8.3): the index, which is rewritten as a whole, would have to be written millions of times between two deletions.
 * @param purpose is authenticated, so that what was sealed for one place opens in no other
 */
export function seal(key: Uint8Array, purpose: string, plain: Uint8Array): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  cipher.setAAD(Buffer.from(purpose));
  return Buffer.concat([Uint8Array.of(VERSION), nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/** What was sealed; undefined if it is damaged, or was sealed with another key or for another purpose. */
export function unseal(key: Uint8Array, purpose: string, sealed: Uint8Array): Buffer | undefined {
  if (sealed.length < 1 + NONCE_BYTES + TAG_BYTES || sealed[0] !== VERSION) return undefined;
  const end = sealed.length - TAG_BYTES;
  const cipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(1, 1 + NONCE_BYTES));
  cipher.setAAD(Buffer.from(purpose));
  cipher.setAuthTag(sealed.subarray(end));
  try {
    return Buffer.concat([cipher.update(sealed.subarray(1 + NONCE_BYTES, end)), cipher.final()]);
  } catch {
    return undefined;
  }
}

/** A key for one purpose; keys for others reveal nothing about it (HKDF, RFC 5869). */
export function deriveKey(key: Uint8Array, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', key, new Uint8Array(0), `loam vault ${purpose}`, KEY_BYTES));
}

export const IV_BYTES = 16;
const BLOCK_BYTES = 16;

export function newIv(): Buffer {
  return randomBytes(IV_BYTES);
}

/**
 * AES-256-CTR (NIST SP 800-38A) at any place of a stream: encrypts and decrypts the `bytes` at `position`. It hides them but does not detect
 * changes. An `iv` is for one content: never encrypt two under the same.
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

/** Base64 (RFC 4648) as it is written, with nothing else in it; empty if it is not. Node's own reader passes over what it does not know. */
export function decodeBase64(text: string, padded = true): Buffer {
  const bytes = Buffer.from(text, 'base64');
  const written = bytes.toString('base64');
  return (padded ? written : written.replace(/=+$/, '')) === text ? bytes : Buffer.alloc(0);
}
