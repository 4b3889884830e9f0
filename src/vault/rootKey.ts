/**
 * The key that opens the vault: 32 random bytes in `key`, readable by this user only, or in `key.age`, encrypted with the passphrase.
 * Where both lie there (a change of the passphrase was interrupted) `key.age` counts.
 */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Decrypter, Encrypter } from 'age-encryption';
import { KEY_BYTES } from '../util/seal.js';
import { VaultDamagedError, VaultLockedError, WrongPassphraseError } from './errors.js';
import { copyPath, isMirrored, readMirrored, removeMirrored, writeMirrored } from './mirrored.js';
import { passphraseIdentity, passphraseRecipient } from './passphrase.js';
import type { VaultState } from './types.js';

const plainPath = (folder: string) => join(folder, 'key');
const lockedPath = (folder: string) => join(folder, 'key.age');
const exists = (path: string) => existsSync(path) || existsSync(copyPath(path));

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

function parse(text: string): Buffer | undefined {
  const [, hex = '', digits] = /^LOAM-VAULT-KEY-1 ([0-9a-f]{64}) ([0-9a-f]{8})\n$/.exec(text) ?? [];
  return digits !== undefined && check(hex) === digits ? Buffer.from(hex, 'hex') : undefined;
}

/** Whether there is a key, and what it wants. */
export function keyState(folder: string): VaultState {
  return exists(lockedPath(folder)) ? 'passphrase' : exists(plainPath(folder)) ? 'open' : 'absent';
}

export function newRootKey(): Buffer {
  return randomBytes(KEY_BYTES);
}

/** Makes `key` the one that opens the vault; the file of an earlier one is overwritten. */
export async function writeRootKey(folder: string, key: Uint8Array, passphrase: string | undefined): Promise<void> {
  if (passphrase === undefined) {
    await writeMirrored(plainPath(folder), Buffer.from(format(key)), { scrub: true });
    await removeMirrored(lockedPath(folder));
    return;
  }
  const encrypter = new Encrypter();
  encrypter.addRecipient(passphraseRecipient(passphrase));
  await writeMirrored(lockedPath(folder), await encrypter.encrypt(format(key)), { scrub: true });
  await removeMirrored(plainPath(folder));
}

export interface ReadKey {
  key: Buffer;
  /** Mends a damaged copy of the file, and removes what an interrupted change of passphrase has left. Call it under the lock. */
  tidy(): Promise<void>;
}

/**
 * Reads the key of a vault that has one.
 * @throws VaultLockedError, WrongPassphraseError, VaultDamagedError
 */
export async function readRootKey(folder: string, passphrase: string | undefined): Promise<ReadKey> {
  const found = (path: string, key: Buffer, content: Buffer): ReadKey => ({
    key,
    async tidy() {
      // Where another process has changed it meanwhile, that is the newer one.
      const current = readMirrored(path);
      if (current.some((other) => other.equals(content)) && !isMirrored(path)) await writeMirrored(path, content);
      if (path === lockedPath(folder) && exists(plainPath(folder))) await removeMirrored(plainPath(folder));
    },
  });
  if (keyState(folder) !== 'passphrase') {
    for (const content of readMirrored(plainPath(folder))) {
      const key = parse(content.toString('latin1'));
      if (key) return found(plainPath(folder), key, content);
    }
    throw damaged(plainPath(folder));
  }
  if (passphrase === undefined) throw new VaultLockedError();
  let refused = false;
  for (const content of readMirrored(lockedPath(folder))) {
    const identity = passphraseIdentity(passphrase);
    const decrypter = new Decrypter();
    decrypter.addIdentity(identity);
    try {
      const key = parse(await decrypter.decrypt(content, 'text'));
      if (key) return found(lockedPath(folder), key, content);
    } catch (error) {
      if (isSystemError(error)) throw error;
      refused ||= identity.refused;
    }
  }
  // With a bit flipped in what scrypt guards, the right passphrase looks wrong; the second copy is there for that.
  throw refused ? new WrongPassphraseError() : damaged(lockedPath(folder));
}

/** Out of memory and the like, which say nothing of the file. */
function isSystemError(error: unknown): boolean {
  return typeof (error as NodeJS.ErrnoException).code === 'string';
}

function damaged(path: string): VaultDamagedError {
  return new VaultDamagedError({
    found: 'the file with the key of the vault is damaged, and without it nothing in the vault can be read',
    where: path,
    fix: 'restore it from a copy, or begin anew with loam vault destroy',
  });
}
