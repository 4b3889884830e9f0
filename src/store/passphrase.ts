import { createCipheriv, createDecipheriv, randomBytes, scrypt } from 'node:crypto';
import type { Identity, Recipient, Stanza } from 'age-encryption';
import { decodeBase64, KEY_BYTES } from '../base/crypto.js';
import { LoamError } from '../base/errors.js';

/**
 * The passphrase recipient of age v1 (age-encryption.org/v1, "The scrypt recipient type"), computed by the system's own scrypt on
 * another thread: the library's takes seconds of the event loop. What is written opens with stock `age --decrypt`.
 */

/** log2 of scrypt's N: OWASP's recommendation for storing passwords (2^17, r 8, p 1): 128 MiB, about a second on a laptop. */
const WORK_FACTOR = 17;
/**
 * Highest accepted: 256 MiB for a guess. It is what age itself writes; a file that asks for more was written to make a guess cost more
 * than a phone has.
 */
const MAX_WORK_FACTOR = 18;
const LABEL = 'age-encryption.org/v1/scrypt';
const SALT_BYTES = 16;
const TAG_BYTES = 16;
const FILE_KEY_BYTES = 16;

function derive(passphrase: string, salt: Uint8Array, logN: number): Promise<Buffer> {
  const N = 2 ** logN;
  const full = Buffer.concat([Buffer.from(LABEL), salt]);
  return new Promise((resolve, reject) => {
    // Composed and decomposed accents, as different keyboards give them, are one passphrase.
    const text = passphrase.normalize('NFC');
    scrypt(text, full, KEY_BYTES, { N, r: 8, p: 1, maxmem: 128 * 8 * (N + 64) }, (error, key) =>
      error ? reject(error) : resolve(key),
    );
  });
}

const nonce = new Uint8Array(12);
const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64').replace(/=+$/, '');

export function passphraseRecipient(passphrase: string, logN = WORK_FACTOR): Recipient {
  return {
    async wrapFileKey(fileKey) {
      const salt = randomBytes(SALT_BYTES);
      const cipher = createCipheriv('chacha20-poly1305', await derive(passphrase, salt, logN), nonce, {
        authTagLength: TAG_BYTES,
      });
      const body = Buffer.concat([cipher.update(fileKey), cipher.final(), cipher.getAuthTag()]);
      const { Stanza } = await import('age-encryption');
      return [new Stanza(['scrypt', base64(salt), String(logN)], new Uint8Array(body))];
    },
  };
}

/**
 * `refused` tells afterwards whether it was the passphrase that did not fit; otherwise the file is damaged, or not as the specification
 * has it. Throws LoamError (too-large) for a work factor beyond the limit.
 */
export function passphraseIdentity(passphrase: string): Identity & { refused: boolean } {
  return {
    refused: false,
    async unwrapFileKey(stanzas) {
      if (!stanzas.some(({ args }) => args[0] === 'scrypt')) return null;
      const { salt, logN, body } = readStanza(stanzas);
      const cipher = createDecipheriv('chacha20-poly1305', await derive(passphrase, salt, logN), nonce, {
        authTagLength: TAG_BYTES,
      });
      cipher.setAuthTag(body.subarray(FILE_KEY_BYTES));
      try {
        return new Uint8Array(Buffer.concat([cipher.update(body.subarray(0, FILE_KEY_BYTES)), cipher.final()]));
      } catch {
        this.refused = true;
        return null;
      }
    },
  };
}

/** The one stanza of the header: a recipient besides the passphrase is forbidden, and so is any other form of these arguments. */
function readStanza(stanzas: readonly Stanza[]): { salt: Buffer; logN: number; body: Uint8Array } {
  const [{ args, body }] = stanzas as [Stanza];
  const [, saltText = '', logText = ''] = args;
  const salt = decodeBase64(saltText, false);
  const isSound = stanzas.length === 1 && args.length === 3 && salt.length === SALT_BYTES && /^[1-9]\d*$/.test(logText);
  if (!isSound || body.length !== FILE_KEY_BYTES + TAG_BYTES) throw new Error('invalid scrypt stanza');
  const logN = Number(logText);
  if (logN > MAX_WORK_FACTOR) {
    throw new LoamError({
      code: 'too-large',
      found: `a file whose passphrase takes a work factor of 2^${logText.slice(0, 6)} to try`,
      expected: `at most 2^${MAX_WORK_FACTOR}`,
      fix: 'restore the file from a copy',
    });
  }
  return { salt, logN, body };
}
