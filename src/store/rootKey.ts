import { createHash, randomBytes } from 'node:crypto';
import { Decrypter, Encrypter } from 'age-encryption';
import { KEY_BYTES } from '../base/crypto.js';
import { type LoamError, systemCode } from '../base/errors.js';
import type { Pair, VaultFiles } from './files.js';
import { passphraseIdentity, passphraseRecipient } from './passphrase.js';
import { type VaultState, vaultDamaged, vaultLocked, wrongPassphrase } from './types.js';

/**
 * The key that opens the vault: 32 random bytes in `key`, readable by this user only, or in `key.age`, encrypted with the passphrase.
 * Where both lie there (a change of the passphrase was interrupted) `key.age` counts.
 */

const PREFIX = 'LOAM-VAULT-KEY-1';
const CHECK_DIGITS = 8;

function check(hex: string): string {
  return createHash('sha256').update(`${PREFIX} ${hex}`).digest('hex').slice(0, CHECK_DIGITS);
}

/** One line: what it is, the key in hex, the first digits of its SHA-256. */
function format(key: Uint8Array): string {
  const hex = Buffer.from(key).toString('hex');
  return `${PREFIX} ${hex} ${check(hex)}\n`;
}

function parseRootKey(text: string): Buffer | undefined {
  const [, hex = '', digits] = /^LOAM-VAULT-KEY-1 ([0-9a-f]{64}) ([0-9a-f]{8})\n$/.exec(text) ?? [];
  return digits !== undefined && check(hex) === digits ? Buffer.from(hex, 'hex') : undefined;
}

/** Whether there is a key, and what it wants. */
export function keyState(files: VaultFiles): VaultState {
  return files.has('key.age') ? 'passphrase' : files.has('key') ? 'open' : 'absent';
}

export function newRootKey(): Buffer {
  return randomBytes(KEY_BYTES);
}

/** Makes `key` the one that opens the vault; the file of an earlier one is overwritten. */
export async function writeRootKey(files: VaultFiles, key: Uint8Array, passphrase: string | undefined): Promise<void> {
  if (passphrase === undefined) {
    await files.write('key', Buffer.from(format(key)), { scrub: true });
    await files.remove('key.age');
    return;
  }
  const encrypter = new Encrypter();
  encrypter.addRecipient(passphraseRecipient(passphrase));
  await files.write('key.age', await encrypter.encrypt(format(key)), { scrub: true });
  await files.remove('key');
}

/** The key of a vault, and where it was found. */
interface ReadKey {
  key: Buffer;
  file: Pair;
  content: Buffer;
}

/**
 * Reads the key of a vault that has one.
 * @throws LoamError: locked, wrong-passphrase, vault-damaged
 */
export async function readRootKey(files: VaultFiles, passphrase: string | undefined): Promise<ReadKey> {
  if (keyState(files) !== 'passphrase') {
    for (const content of files.read('key')) {
      const key = parseRootKey(content.toString('latin1'));
      if (key) return { key, file: 'key', content };
    }
    throw damaged(files, 'key');
  }
  if (passphrase === undefined) throw vaultLocked();
  let refused = false;
  for (const content of files.read('key.age')) {
    const identity = passphraseIdentity(passphrase);
    const decrypter = new Decrypter();
    decrypter.addIdentity(identity);
    try {
      const key = parseRootKey(await decrypter.decrypt(content, 'text'));
      if (key) return { key, file: 'key.age', content };
    } catch (error) {
      // Out of memory and the like say nothing of the file.
      if (systemCode(error) !== undefined) throw error;
      refused ||= identity.refused;
    }
  }
  // With a bit flipped in what scrypt guards, the right passphrase looks wrong; the second copy is there for that.
  throw refused ? wrongPassphrase() : damaged(files, 'key.age');
}

/** Mends a damaged copy of the file, and removes what an interrupted change of passphrase has left. Call it under the lock. */
export async function tidyRootKey(files: VaultFiles, { file, content }: ReadKey): Promise<void> {
  // If another process has changed it meanwhile, that is the newer one.
  if (files.read(file).some((other) => other.equals(content)) && !files.isWhole(file)) await files.write(file, content);
  if (file === 'key.age' && files.has('key')) await files.remove('key');
}

function damaged(files: VaultFiles, file: Pair): LoamError {
  return vaultDamaged({
    found: 'the file with the key of the vault is damaged, and without it nothing in the vault can be read',
    where: files.path(file),
    fix: 'restore it from a copy, or begin anew with loam vault destroy',
  });
}
