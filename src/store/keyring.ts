import { randomBytes } from 'node:crypto';
import { decodeBase64, deriveKey, KEY_BYTES, seal, unseal } from '../base/crypto.js';
import { type JsonValue, parseJson } from '../base/json.js';
import { at, isList, listAt, textAt } from '../base/jsonAccess.js';
import type { VaultFiles } from './files.js';

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

const purpose = (id: string) => `index key ${id}`;

export function newIndexKey(): IndexKey {
  return { id: randomBytes(8).toString('hex'), key: randomBytes(KEY_BYTES) };
}

/** @param roots keys of the vault, each of which is to open it */
export async function writeKeyring(
  files: VaultFiles,
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
  await files.write('index.key', Buffer.from(`${JSON.stringify(content)}\n`), { scrub: true });
}

/**
 * The keys that this key of the vault opens, those of both copies if they differ: the newest index that one of them opens tells which
 * counts. Undefined if there is no such file, or none that is whole.
 */
export function readKeyring(files: VaultFiles, root: Uint8Array): Keyring | undefined {
  const wrapping = deriveKey(root, 'index.key');
  const found = files.read('index.key').flatMap((content) => parseKeyring(content, wrapping) ?? []);
  if (found.length === 0) return undefined;
  const keys = new Map(found.flatMap((one) => one.keys.map((key) => [key.id, key])));
  return { keys: [...keys.values()], tidy: found.every((one) => one.tidy) && keys.size === 1 };
}

function parseKeyring(content: Buffer, wrapping: Uint8Array): Keyring | undefined {
  let value: JsonValue;
  try {
    value = parseJson(content.toString('latin1'), 'index.key');
  } catch {
    return undefined;
  }
  const keys = listAt(value, 'keys');
  if (at(value, 'version') !== VERSION || keys.length > MAX_LISTED) return undefined;
  const opened: IndexKey[] = [];
  let tidy = keys.length === 1;
  for (const entry of keys) {
    const id = textAt(entry, 'id');
    const wrapped = at(entry, 'wrapped');
    if (id === undefined || !isList(wrapped) || wrapped.length > MAX_LISTED) return undefined;
    if (wrapped.length !== 1) tidy = false;
    const key = wrapped
      .map((text) => unseal(wrapping, purpose(id), decodeBase64(String(text))))
      .find((found) => found?.length === KEY_BYTES);
    if (key) opened.push({ id, key });
  }
  return opened.length === 0 ? undefined : { keys: opened, tidy };
}
