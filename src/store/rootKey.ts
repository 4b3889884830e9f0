import { createHash, randomBytes } from 'node:crypto';
import { KEY_BYTES } from '../base/crypto.js';
import { LoamError, systemCode } from '../base/errors.js';
import type { Pair, VaultFiles } from './files.js';
import { readKeyring } from './keyring.js';
import { passphraseIdentity, passphraseRecipient } from './passphrase.js';
import { type VaultState, vaultDamaged, vaultLocked, wrongPassphrase } from './types.js';

/**
 * The key that opens the vault: 32 random bytes in `key`, readable by this user only, or in `key.age`, encrypted with the passphrase.
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
  const [plain, encrypted] = [files.has('key'), files.has('key.age')];
  if (plain && encrypted) return plainCounts(files) ? 'open' : 'passphrase';
  if (plain || encrypted) return plain ? 'open' : 'passphrase';
  // A vault without key is one that is just being made, unless something waits for that key.
  return files.blobs.isEmpty ? 'absent' : 'keyless';
}

/**
 * Both are there while a passphrase is being set or removed, or when an older one was put back. The index's key tells: it has one
 * wrapping, by the key that counts, unless a change was interrupted; then it is not to be undone that there is a passphrase.
 */
function plainCounts(files: VaultFiles): boolean {
  return plainKeys(files).some(({ key }) => readKeyring(files, key)?.tidy);
}

function plainKeys(files: VaultFiles): ReadKey[] {
  return files.read('key').flatMap((content) => {
    const key = parseRootKey(content.toString('latin1'));
    return key ? { key, file: 'key' as const, content } : [];
  });
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
  const { Encrypter } = await import('age-encryption');
  const encrypter = new Encrypter();
  encrypter.addRecipient(passphraseRecipient(passphrase));
  await files.write('key.age', await encrypter.encrypt(format(key)), { scrub: true });
  await files.remove('key');
}

/** The key of a vault, and where it was found. */
export interface ReadKey {
  key: Buffer;
  file: Pair;
  content: Buffer;
}

/**
 * Reads the key of a vault that has one. If the copies differ, the one that opens the index's key counts.
 * @throws LoamError: locked, wrong-passphrase, vault-damaged
 */
export async function readRootKey(files: VaultFiles, passphrase: string | undefined): Promise<ReadKey> {
  const opens = ({ key }: ReadKey) => readKeyring(files, key) !== undefined;
  switch (keyState(files)) {
    case 'passphrase':
      if (passphrase === undefined) throw vaultLocked();
      return await readEncrypted(files, passphrase, opens);
    case 'open': {
      const found = plainKeys(files);
      const key = found.find(opens) ?? found[0];
      if (!key) throw damaged(files, 'key');
      return key;
    }
    default:
      throw vaultDamaged({
        found: 'the file with the key of the vault is gone, and without it nothing in the vault can be read',
        where: files.path('key'),
        fix: 'restore it from a copy, or begin anew with loam vault destroy',
      });
  }
}

async function readEncrypted(
  files: VaultFiles,
  passphrase: string,
  opens: (key: ReadKey) => boolean,
): Promise<ReadKey> {
  const { Decrypter } = await import('age-encryption');
  let refused = false;
  let refusal: unknown;
  let other: ReadKey | undefined;
  for (const content of files.read('key.age')) {
    const identity = passphraseIdentity(passphrase);
    const decrypter = new Decrypter();
    decrypter.addIdentity(identity);
    try {
      const key = parseRootKey(await decrypter.decrypt(content, 'text'));
      const found = key && { key, file: 'key.age' as const, content };
      if (found && opens(found)) return found;
      other ??= found;
    } catch (error) {
      // Out of memory and the like say nothing of the file.
      if (systemCode(error) !== undefined) throw error;
      if (error instanceof LoamError) refusal = new LoamError({ where: files.path('key.age'), ...error.fault });
      refused ||= identity.refused;
    }
  }
  // With a bit flipped in what scrypt guards, the right passphrase looks wrong; the second copy is there for that. An older copy that
  // the passphrase opens does not make it the right one.
  if (refused) throw wrongPassphrase();
  if (other) return other;
  throw refusal ?? damaged(files, 'key.age');
}

/** Mends a damaged copy of the file, and removes what an interrupted change of passphrase has left. Call it under the lock. */
export async function tidyRootKey(files: VaultFiles, { file, content }: ReadKey): Promise<void> {
  // If another process has changed it meanwhile, that is the newer one.
  if (files.read(file).some((other) => other.equals(content)) && !files.isWhole(file)) {
    await files.write(file, content, { scrub: true });
  }
  const stale = file === 'key' ? 'key.age' : 'key';
  if (files.has(stale) && (file === 'key.age' || plainCounts(files))) await files.remove(stale);
}

function damaged(files: VaultFiles, file: Pair): LoamError {
  return vaultDamaged({
    found: 'the file with the key of the vault is damaged, and without it nothing in the vault can be read',
    where: files.path(file),
    fix: 'restore it from a copy, or begin anew with loam vault destroy',
  });
}
