import { createCipheriv, createDecipheriv, randomBytes, scrypt } from 'node:crypto';
import { type Identity, type Recipient, Stanza } from 'age-encryption';
import { KEY_BYTES } from '../base/crypto.js';

/**
 * The passphrase recipient of age v1 (age-encryption.org/v1, "The scrypt recipient type"), computed by the system's own scrypt on
 * another thread: the library's takes seconds of the event loop. What is written opens with stock `age --decrypt`.
 */

/** log2 of scrypt's N: OWASP's recommendation for storing passwords (2^17, r 8, p 1): 128 MiB, about a second on a laptop. */
const WORK_FACTOR = 17;
/** Highest accepted, as by age itself: 1 GiB. */
const MAX_WORK_FACTOR = 20;
const LABEL = 'age-encryption.org/v1/scrypt';
const SALT_BYTES = 16;
const TAG_BYTES = 16;

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
      return [new Stanza(['scrypt', base64(salt), String(logN)], new Uint8Array(body))];
    },
  };
}

/** `refused` tells afterwards whether it was the passphrase that did not fit; otherwise the file is damaged. */
export function passphraseIdentity(passphrase: string): Identity & { refused: boolean } {
  return {
    refused: false,
    async unwrapFileKey(stanzas) {
      const [stanza] = stanzas;
      if (stanzas.length !== 1 || stanza!.args[0] !== 'scrypt') return null;
      const [, saltText = '', logText = ''] = stanza!.args;
      const salt = Buffer.from(saltText, 'base64');
      const logN = /^[1-9]\d?$/.test(logText) ? Number(logText) : 0;
      const sound = salt.length === SALT_BYTES && logN > 0 && logN <= MAX_WORK_FACTOR;
      if (!sound || stanza!.body.length !== 16 + TAG_BYTES) return null;
      const cipher = createDecipheriv('chacha20-poly1305', await derive(passphrase, salt, logN), nonce, {
        authTagLength: TAG_BYTES,
      });
      cipher.setAuthTag(stanza!.body.subarray(16));
      try {
        return new Uint8Array(Buffer.concat([cipher.update(stanza!.body.subarray(0, 16)), cipher.final()]));
      } catch {
        this.refused = true;
        return null;
      }
    },
  };
}
