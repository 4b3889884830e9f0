import { createCipheriv, createDecipheriv, createHash, randomBytes, scrypt } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Decrypter, Encrypter, type Identity, type Recipient, Stanza } from 'age-encryption';
import { deriveKey, KEY_BYTES, seal, unseal } from '../base/crypto.js';
import { systemCode } from '../base/errors.js';
import type { DocumentStore } from './datasets.js';
import { copyPath, isMirrored, readMirrored, removeMirrored, writeMirrored } from './mirrored.js';
import { VaultDamagedError, VaultLockedError, type VaultState, WrongPassphraseError } from './types.js';

/**
 * `index.key`: the keys of the index, wrapped by the vault's key. The index is sealed with one of them. While keys change hands there
 * are two of a kind, so that whatever is on the disk after a crash fits together; the next writer tidies up.
 */

const VERSION = 1;
/** Keys and wrappings are at most two each; more is not ours. */
const MAX_LISTED = 8;

export interface IndexKey {
  /** 16 hex digits, no secret. */
  id: string;
  key: Buffer;
}

interface Keyring {
  keys: IndexKey[];
  /** Whether it holds exactly one key under exactly one wrapping. */
  tidy: boolean;
}

const pathIn = (folder: string) => join(folder, 'index.key');
const purpose = (id: string) => `index key ${id}`;

export function newIndexKey(): IndexKey {
  return { id: randomBytes(8).toString('hex'), key: randomBytes(KEY_BYTES) };
}

/** @param roots keys of the vault, each of which is to open it */
export async function writeKeyring(
  folder: string,
  roots: readonly Uint8Array[],
  keys: readonly IndexKey[],
): Promise<void> {
  const wrapping = roots.map((root) => deriveKey(root, 'index.key'));
  const content = {
    version: VERSION,
    keys: keys.map(({ id, key }) => ({
      id,
      wrapped: wrapping.map((by) => seal(by, purpose(id), key).toString('base64')),
    })),
  };
  await writeMirrored(pathIn(folder), Buffer.from(`${JSON.stringify(content)}\n`), { scrub: true });
}

/** The keys that this key of the vault opens; undefined where there is no such file, or none that is whole. */
export function readKeyring(folder: string, root: Uint8Array): Keyring | undefined {
  const wrapping = deriveKey(root, 'index.key');
  let best: Keyring | undefined;
  for (const content of readMirrored(pathIn(folder))) {
    const found = parseKeyring(content, wrapping);
    if (found && found.keys.length > (best?.keys.length ?? 0)) best = found;
  }
  return best;
}

function parseKeyring(content: Buffer, wrapping: Uint8Array): Keyring | undefined {
  let value: unknown;
  try {
    value = JSON.parse(content.toString('latin1'));
  } catch {
    return undefined;
  }
  const { version, keys } = (value ?? {}) as { version?: unknown; keys?: unknown };
  if (version !== VERSION || !Array.isArray(keys) || keys.length > MAX_LISTED) return undefined;
  const opened: IndexKey[] = [];
  let tidy = keys.length === 1;
  for (const entry of keys as unknown[]) {
    const { id, wrapped } = (entry ?? {}) as { id?: unknown; wrapped?: unknown };
    if (typeof id !== 'string' || !Array.isArray(wrapped) || wrapped.length > MAX_LISTED) return undefined;
    if (wrapped.length !== 1) tidy = false;
    const key = wrapped
      .map((text) => unseal(wrapping, purpose(id), Buffer.from(String(text), 'base64')))
      .find((found) => found?.length === KEY_BYTES);
    if (key) opened.push({ id, key });
  }
  return opened.length === 0 ? undefined : { keys: opened, tidy };
}

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
const scryptKeyBytes = 32;

function derive(passphrase: string, salt: Uint8Array, logN: number): Promise<Buffer> {
  const N = 2 ** logN;
  const full = Buffer.concat([Buffer.from(LABEL), salt]);
  return new Promise((resolve, reject) => {
    // Composed and decomposed accents, as different keyboards give them, are one passphrase.
    const text = passphrase.normalize('NFC');
    scrypt(text, full, scryptKeyBytes, { N, r: 8, p: 1, maxmem: 128 * 8 * (N + 64) }, (error, key) =>
      error ? reject(error) : resolve(key),
    );
  });
}

const nonce = new Uint8Array(12);
const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64').replace(/=+$/, '');

function passphraseRecipient(passphrase: string, logN = WORK_FACTOR): Recipient {
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
function passphraseIdentity(passphrase: string): Identity & { refused: boolean } {
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

/**
 * The key that opens the vault: 32 random bytes in `key`, readable by this user only, or in `key.age`, encrypted with the passphrase.
 * Where both lie there (a change of the passphrase was interrupted) `key.age` counts.
 */

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

function parseRootKey(text: string): Buffer | undefined {
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

interface ReadKey {
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
      const key = parseRootKey(content.toString('latin1'));
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
      const key = parseRootKey(await decrypter.decrypt(content, 'text'));
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
  return systemCode(error) !== undefined;
}

function damaged(path: string): VaultDamagedError {
  return new VaultDamagedError({
    found: 'the file with the key of the vault is damaged, and without it nothing in the vault can be read',
    where: path,
    fix: 'restore it from a copy, or begin anew with loam vault destroy',
  });
}

/** Kind of the documents that are keys. */
const RUN_KEYS = 'run-key';

/** Which run a key belongs to. */
interface RunPurpose {
  /** Id of the data set it learns from, if that lies in the vault: deleting it deletes the key. */
  dataset?: string;
  run: string;
}

/** Keys for what lies outside the vault and belongs to it: the checkpoints of runs. Without its key such a file is noise. */
export class RunKeys {
  constructor(private readonly documents: DocumentStore) {}

  /** The key of a run, made when first asked for. */
  async get(purpose: RunPurpose): Promise<Buffer> {
    const known = await this.documents.get(RUN_KEYS, idOf(purpose));
    if (known) return Buffer.from(known);
    const key = randomBytes(KEY_BYTES);
    await this.documents.put(RUN_KEYS, idOf(purpose), key);
    return key;
  }

  async all(): Promise<Buffer[]> {
    const keys = await Promise.all(this.documents.list(RUN_KEYS).map(({ id }) => this.documents.get(RUN_KEYS, id)));
    return keys.flatMap((key) => (key ? [Buffer.from(key)] : []));
  }

  async forget(purpose: RunPurpose): Promise<void> {
    await this.documents.delete(RUN_KEYS, idOf(purpose));
  }
}

function idOf({ dataset, run }: RunPurpose): string {
  return `${dataset ?? '-'} ${run}`;
}

/** Whether a document is the key of a run on this data set. */
export function isRunKeyOf(datasetId: string, document: { kind: string; id: string }): boolean {
  return document.kind === RUN_KEYS && document.id.startsWith(`${datasetId} `);
}
