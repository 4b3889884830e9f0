/**
 * `index.key`: the keys of the index, wrapped by the vault's key. The index is sealed with one of them. While keys change hands there
 * are two of a kind, so that whatever is on the disk after a crash fits together; the next writer tidies up.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { deriveKey, KEY_BYTES, seal, unseal } from '../util/seal.js';
import { readMirrored, writeMirrored } from './mirrored.js';

const VERSION = 1;
/** Keys and wrappings are at most two each; more is not ours. */
const MAX_LISTED = 8;

export interface IndexKey {
  /** 16 hex digits, no secret. */
  id: string;
  key: Buffer;
}

export interface Keyring {
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
    const found = parse(content, wrapping);
    if (found && found.keys.length > (best?.keys.length ?? 0)) best = found;
  }
  return best;
}

function parse(content: Buffer, wrapping: Uint8Array): Keyring | undefined {
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
