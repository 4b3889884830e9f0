import { createHash } from 'node:crypto';
import { LoamError, systemCode, UnsupportedError } from '../base/errors.js';
import { count } from '../base/format.js';
import { version as loam } from '../base/process.js';
import { type Member, readTar, writeTar } from '../base/tar.js';
import type { BackupContent, BackupEntry } from './backupEntries.js';
import { type Contents, type Encrypt, webStream } from './contents.js';
import { jsonDocument, jsonOf } from './documents.js';
import type { Entry, EntryType } from './indexContent.js';
import { passphraseIdentity, passphraseRecipient } from './passphrase.js';
import type { DocumentInfo } from './types.js';

/**
 * A backup of a vault: one age v1 file under a passphrase, in it a tar archive, so that `age --decrypt FILE | tar x` has everything even
 * without Loam. First comes a member that says what it is, then the contents as they are, named TYPE/ID, at last the list of entries.
 * Both ways it streams, and every byte is authenticated before the vault changes, which it does in one write.
 */

const VERSION = 1;
const HEAD = 'loam-backup.json';
const LIST = 'entries.json';
const FORMAT = 'loam-vault-backup';
/** Bytes: of the first member, and of the list, which has some hundred an entry. */
const MAX_HEAD = 4096;
const MAX_LIST = 64 << 20;
/** More than the header of an age file for one passphrase has. */
const MAX_AGE_HEADER = 512;

/** Documents of this device and no other: the key of a browser's drafts, keys of checkpoints, which are no part of a backup. */
const local: ReadonlySet<string> = new Set(['drafts', 'run-key']);
const isLocal = ({ type, value }: Pick<Entry, 'type' | 'value'>) =>
  type === 'document' && local.has((value as DocumentInfo).kind);

export interface BackupSummary {
  /** ISO 8601. */
  createdAt: string;
  datasets: number;
  adapters: number;
  versions: number;
  documents: number;
}

const types: readonly EntryType[] = ['dataset', 'adapter', 'version', 'document'];

/** @param told what is in it, once that is known */
export async function* writeBackup(
  contents: Contents,
  passphrase: string,
  told: (summary: BackupSummary) => void = () => {},
): AsyncGenerator<Uint8Array, void> {
  const { Encrypter } = await import('age-encryption');
  const encrypter = new Encrypter();
  encrypter.addRecipient(passphraseRecipient(passphrase));
  yield* await encrypter.encrypt(webStream(writeTar(members(contents, told))));
}

async function* members(contents: Contents, told: (summary: BackupSummary) => void): AsyncGenerator<Member, void> {
  const createdAt = new Date().toISOString();
  yield memberOf(HEAD, { format: FORMAT, version: VERSION, loam, createdAt });
  const all = types.flatMap((type) => contents.index.all(type)).filter((entry) => !isLocal(entry));
  const adapters = all.filter(({ type }) => type === 'adapter');
  const written: BackupEntry[] = [];
  for (const { id, type } of all.filter(({ type }) => type !== 'adapter')) {
    const found = await begun(contents, id);
    // Deleted meanwhile.
    if (!found) continue;
    yield { name: `${type}/${id}`, ...found };
    written.push({ id, type, value: found.value });
  }
  for (const { id, type, value } of adapters) {
    const own = written.filter((entry) => (entry.value as { adapter?: string }).adapter === id);
    const { active } = value as { active: string | null };
    const isThere = own.some((entry) => entry.id === active);
    if (own.length > 0) written.push({ id, type, value: { ...(value as object), active: isThere ? active : null } });
  }
  yield memberOf(LIST, { version: VERSION, entries: written });
  told({ createdAt, ...countsOf(written) });
}

function memberOf(name: string, value: object): Member {
  const bytes = jsonDocument(value);
  return { name, size: bytes.length, content: one(bytes) };
}

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield bytes;
}

/** The content of an entry as it is now: others may replace it until its file is open. Undefined if it is gone. */
async function begun(contents: Contents, id: string) {
  for (let attempt = 1; ; attempt++) {
    const entry = contents.index.get(id);
    if (!entry) return undefined;
    const { bytes, name, kind } = entry.value as { bytes: number; name?: string; kind?: string };
    const what = name === undefined ? `a ${kind === undefined ? 'version' : 'document'}` : `the data set "${name}"`;
    const pieces = contents.pieces(entry, bytes, what);
    try {
      const first = await pieces.next();
      return { value: entry.value, size: bytes, content: joined(first, pieces) };
    } catch (error) {
      if (!(error instanceof LoamError && error.code === 'conflict') || attempt === 5) throw error;
    }
  }
}

async function* joined(
  first: IteratorResult<Uint8Array, void>,
  rest: AsyncGenerator<Uint8Array, void>,
): AsyncGenerator<Uint8Array, void> {
  if (first.done) return;
  yield first.value;
  yield* rest;
}

function countsOf(entries: readonly Pick<Entry, 'type'>[]): Omit<BackupSummary, 'createdAt'> {
  const of = (type: EntryType) => entries.filter((entry) => entry.type === type).length;
  return { datasets: of('dataset'), adapters: of('adapter'), versions: of('version'), documents: of('document') };
}

/** @throws LoamError: confirm, if the vault has anything in it */
export function requireEmpty(contents: Contents): void {
  const entries = types.flatMap((type) => contents.index.all(type)).filter((entry) => !isLocal(entry));
  if (entries.length === 0) return;
  const { datasets, adapters, documents } = countsOf(entries);
  const parts = Object.entries({ 'data sets': datasets, adapters, documents }).filter(([, n]) => n > 0);
  throw new LoamError({
    code: 'confirm',
    found: `what is in the vault would be replaced (${parts.map(([name, n]) => `${name}: ${count(n)}`).join(', ')})`,
  });
}

export interface RestoreOptions {
  /** Whether what is in the vault may go. */
  replace?: boolean;
  /** Called once all of the backup was read and found good, before anything changes: to end what works with the vault. */
  before?: () => Promise<void>;
}

/**
 * Puts what a backup holds in the place of everything in the vault, whose key and passphrase stay. Contents are encrypted anew as they
 * come; the index names them in one write once all of the backup was read.
 * @throws LoamError: confirm, unless the vault is empty or `replace` is set; wrong-passphrase, wrong-format, damaged, unsupported, after
 * none of which anything has changed; and what `source` throws
 * @param source its pieces stay as they are
 */
export async function restoreBackup(
  contents: Contents,
  source: AsyncIterable<Uint8Array>,
  passphrase: string,
  { replace = false, before }: RestoreOptions = {},
): Promise<BackupSummary> {
  if (!replace) requireEmpty(contents);
  return await contents.storePrepared(
    async (encrypt) => {
      const read = await readBackup(source, passphrase, encrypt);
      await before?.();
      return read;
    },
    ({ createdAt, entries }) => {
      if (!replace) requireEmpty(contents);
      const old = types.flatMap((type) => contents.index.all(type));
      // Checkpoints of runs on what was here go with it.
      const kept = ({ type, value }: Entry) => type === 'document' && (value as DocumentInfo).kind === 'drafts';
      const remove = old.filter((entry) => !kept(entry)).map(({ id }) => id);
      return { change: { put: entries, remove, forget: true }, result: { createdAt, ...countsOf(entries) } };
    },
  );
}

async function readBackup(
  source: AsyncIterable<Uint8Array>,
  passphrase: string,
  encrypt: Encrypt,
): Promise<{ createdAt: string; entries: Entry[] }> {
  const found = new Map<string, BackupContent & { blob: NonNullable<Entry['blob']> }>();
  let createdAt: string | undefined;
  let listed: unknown;
  for await (const { name, size, content } of readTar(decrypted(source, passphrase))) {
    if (createdAt === undefined) {
      if (name !== HEAD || size > MAX_HEAD) throw noBackup();
      createdAt = readHead(await jsonIn(content));
    } else if (listed !== undefined || size > MAX_CONTENT) {
      throw damaged();
    } else if (name === LIST) {
      if (size > MAX_LIST) throw damaged();
      listed = await jsonIn(content);
    } else {
      if (!/^(dataset|version|document)\/[0-9a-f]{32}$/.test(name) || found.has(name)) throw damaged();
      const hash = createHash('sha256');
      const blob = await encrypt(watched(content, (piece) => hash.update(piece)));
      found.set(name, { blob, bytes: size, sha256: hash.digest('hex') });
    }
  }
  if (createdAt === undefined || listed === undefined) throw damaged();
  // Not with the vault: its schemas' library is hundreds of files, which every command would wait for.
  const { checkEntries } = await import('./backupEntries.js');
  const entries = checkEntries(listed, found);
  if (entries.some(isLocal)) throw damaged();
  return {
    createdAt,
    entries: entries.map(({ id, type, value }) => ({ id, type, value, blob: found.get(`${type}/${id}`)?.blob })),
  };
}

/** Bytes of a content that can be read again: it is held in memory then. */
const MAX_CONTENT = 4 * 2 ** 30;

function readHead(head: unknown): string {
  const { format, version, createdAt } = (head ?? {}) as Record<string, unknown>;
  if (format !== FORMAT || typeof version !== 'number' || typeof createdAt !== 'string') throw noBackup();
  if (version === VERSION) return createdAt;
  throw new UnsupportedError({
    found: 'a backup that a later Loam has written',
    expected: `format ${VERSION}`,
    fix: 'update Loam',
  });
}

async function* watched(
  content: AsyncIterable<Uint8Array>,
  see: (piece: Uint8Array) => void,
): AsyncGenerator<Uint8Array, void> {
  for await (const piece of content) {
    see(piece);
    yield piece;
  }
}

async function jsonIn(content: AsyncIterable<Uint8Array>): Promise<unknown> {
  const pieces: Uint8Array[] = [];
  for await (const piece of content) pieces.push(piece);
  try {
    return jsonOf<unknown>(Buffer.concat(pieces));
  } catch {
    throw damaged();
  }
}

/** What an age file under a passphrase holds. @throws LoamError: wrong-passphrase, wrong-format, damaged; what `source` throws */
async function* decrypted(source: AsyncIterable<Uint8Array>, passphrase: string): AsyncGenerator<Uint8Array, void> {
  const identity = passphraseIdentity(passphrase);
  const { Decrypter } = await import('age-encryption');
  const decrypter = new Decrypter();
  decrypter.addIdentity(identity);
  try {
    yield* await decrypter.decrypt(webStream(withHeader(source)));
  } catch (error) {
    if (identity.refused) {
      const found = 'this is not the passphrase of the backup';
      throw new LoamError({ code: 'wrong-passphrase', found, fix: 'try again; without it nobody can read the backup' });
    }
    // Of a disk, or of the memory; anything else is the library's word for what does not fit together.
    if (error instanceof LoamError || systemCode(error) !== undefined) throw error;
    throw damaged({ cause: error });
  }
}

/** The library looks for the end of the header as far as the file goes, and holds it in memory. */
async function* withHeader(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  let start: Buffer | undefined = Buffer.alloc(0);
  for await (const piece of source) {
    if (!start) yield piece;
    else {
      start = Buffer.concat([start, piece]);
      if (start.length < MAX_AGE_HEADER) continue;
      yield headed(start);
      start = undefined;
    }
  }
  if (start) yield headed(start);
}

function headed(start: Buffer): Buffer {
  const text = start.toString('latin1', 0, MAX_AGE_HEADER);
  if (!text.startsWith('age-encryption.org/v1\n-> scrypt ') || !text.includes('\n--- ')) throw noBackup();
  return start;
}

function damaged(options?: ErrorOptions): LoamError {
  const found = 'the backup is damaged or not whole';
  return new LoamError({ code: 'damaged', found, fix: 'use another copy of it; nothing was changed' }, options);
}

function noBackup(): LoamError {
  return new LoamError({ code: 'wrong-format', found: 'this is not a backup of a vault' });
}
