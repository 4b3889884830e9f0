import { randomBytes } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { clauseOf, LoamError, systemCode } from '../base/errors.js';
import { isLeftBehind } from '../base/unfinished.js';
import type { BlobFiles } from './blobFiles.js';
import type { Entry, EntryType } from './indexContent.js';
import { type DocumentInfo, newId, vaultDamaged } from './types.js';
import type { Change, VaultIndex } from './vaultIndex.js';

/** Bytes encrypted before other work has its turn: some milliseconds on a laptop. */
const PIECE_BYTES = 128 * 1024;

/** More than the header of an age file for one recipient has, with the nonce and the tag of a last piece. */
const HEADER_BYTES = 4096;

type Blob = NonNullable<Entry['blob']>;
type Awaitable<T> = T | Promise<T>;
/** Makes a blob of a content, which no entry names yet. */
export type Encrypt = (content: Uint8Array | AsyncIterable<Uint8Array>) => Promise<Blob>;

/** Why a blob cannot be read. */
class BlobDamaged extends Error {
  override readonly name = 'BlobDamaged';
}

/**
 * Contents of entries, each in a file of its own (a blob): written once, an age v1 file with a key of its own, under a random name. The
 * index names the blob in the same write as the rest of its entry.
 */
export class Contents {
  constructor(
    readonly index: VaultIndex,
    private readonly files: BlobFiles,
  ) {}

  /**
   * Changes the index together with blobs: `content` is encrypted first, outside the lock, and named by the index in the same write
   * as the rest. Blobs whose entries go or get another one are removed after it.
   * @param decide sees the newest state, and nobody changes it meanwhile; what is known only then it encrypts itself
   */
  async store<T>(
    content: Uint8Array | undefined,
    decide: (blob: Entry['blob'], encrypt: Encrypt) => Awaitable<{ change: Change; result: T }>,
  ): Promise<T> {
    return await this.storePrepared(async (encrypt) => content && (await encrypt(content)), decide);
  }

  /** The same for any number of contents: `prepare` encrypts them, outside the lock, and what it makes of them goes to `decide`. */
  async storePrepared<P, T>(
    prepare: (encrypt: Encrypt) => Promise<P>,
    decide: (prepared: P, encrypt: Encrypt) => Awaitable<{ change: Change; result: T }>,
  ): Promise<T> {
    const blobs: Blob[] = [];
    const encrypt = async (content: Uint8Array | AsyncIterable<Uint8Array>) => {
      const blob = await this.encrypt(content);
      blobs.push(blob);
      return blob;
    };
    try {
      const prepared = await prepare(encrypt);
      return await this.index.update(async () => {
        const decided = await decide(prepared, encrypt);
        return {
          ...decided,
          // Only now: a blob that has its name and that no index names is one that an older index does not know.
          after: async () => {
            const now = this.index.blobs();
            // One of them is not used if the decision was to leave all as it is.
            for (const { name } of blobs) await (now.has(name) ? this.files.publish(name) : this.files.discard(name));
            await this.files.remove(this.index.gone());
            if (decided.change.forget) await this.sweep();
          },
        };
      });
    } catch (error) {
      for (const blob of blobs) {
        if (this.mayName(blob)) await this.files.publish(blob.name).catch(() => {});
        else await this.files.discard(blob.name);
      }
      throw error;
    }
  }

  /** The write of the index may have come through all the same (an error after its rename). */
  private mayName({ name }: Blob): boolean {
    try {
      return this.index.blobs().has(name);
    } catch {
      // A vault that cannot be read names no blobs; the next one that opens it sweeps.
      return true;
    }
  }

  private async encrypt(content: Uint8Array | AsyncIterable<Uint8Array>): Promise<Blob> {
    const { Encrypter, generateX25519Identity, identityToRecipient } = await import('age-encryption');
    const secret = await generateX25519Identity();
    const encrypter = new Encrypter();
    encrypter.addRecipient(await identityToRecipient(secret));
    const name = randomBytes(16).toString('hex');
    const stream = content instanceof Uint8Array ? pieces(content) : webStream(content);
    await this.files.create(name, () => encrypter.encrypt(stream));
    return { name, secret };
  }

  /** The content of an entry. @param what names it in a message: `the data set "mine"` */
  async read(entry: Entry, bytes: number, what: string): Promise<Uint8Array> {
    const content = new Uint8Array(bytes);
    let done = 0;
    for await (const piece of this.pieces(entry, bytes, what)) {
      content.set(piece, done);
      done += piece.length;
    }
    return content;
  }

  /** The same piece by piece. */
  async *pieces(entry: Entry, bytes: number, what: string): AsyncGenerator<Uint8Array, void> {
    const { blob } = entry;
    try {
      if (!blob) throw new BlobDamaged('the index does not name its file');
      yield* this.decrypt(blob, bytes);
    } catch (error) {
      if (!(error instanceof BlobDamaged)) throw error;
      if (this.index.get(entry.id)?.blob?.name !== blob?.name) {
        throw new LoamError({
          code: 'conflict',
          found: `${what} was deleted or replaced while it was read`,
          fix: 'run again',
        });
      }
      throw vaultDamaged(
        {
          found: `${what} is damaged (${clauseOf(error)}) and cannot be read; everything else in the vault can`,
          where: blob && `blobs/${blob.name}`,
          fix: 'restore the file from a copy, or delete it',
        },
        { cause: error },
      );
    }
  }

  /** @param bytes length of the content @throws BlobDamaged */
  private async *decrypt({ name, secret }: Blob, bytes: number): AsyncGenerator<Uint8Array, void> {
    const file = await this.files.open(name).catch((error: unknown) => {
      const code = systemCode(error);
      throw new BlobDamaged(
        code === 'ENOENT' ? 'the file is gone' : `it cannot be read (${code ?? 'it is no regular file'})`,
      );
    });
    try {
      if ((await file.stat()).size > bytes + bytes / 2048 + HEADER_BYTES)
        throw new BlobDamaged('it is longer than it was');
      const { Decrypter } = await import('age-encryption');
      const decrypter = new Decrypter();
      decrypter.addIdentity(secret);
      let done = 0;
      for await (const piece of await decrypter.decrypt(fileStream(file))) {
        done += piece.length;
        if (done > bytes) throw new BlobDamaged('it is longer than it was');
        yield piece;
      }
      if (done < bytes) throw new BlobDamaged('it is shorter than it was');
    } catch (error) {
      if (error instanceof BlobDamaged) throw error;
      const code = systemCode(error);
      throw new BlobDamaged(typeof code === 'string' ? `it cannot be read (${code})` : 'its content was changed');
    } finally {
      await file.close();
    }
  }

  /** Ids of entries that go, with those of the documents that go with them: what was made of a thing does not outlive it. */
  withDependent(ids: readonly string[]): string[] {
    const gone = new Set(ids);
    const documents = this.index.all('document').filter(({ value }) => {
      const { kind, id, of = runKeySources(kind, id) } = value as DocumentInfo;
      return of.some((source) => gone.has(source));
    });
    return [...ids, ...documents.map(({ id }) => id)];
  }

  /**
   * Ends what crashes have left undone: what the index names gets its name, what it says to be gone is removed, and so is what dead
   * processes have not finished. Nothing is removed because no entry names it: an older index that was put back names the newer contents
   * no more. Call it under the lock.
   * @returns names of contents that no entry names
   */
  async sweep(): Promise<string[]> {
    const used = this.index.blobs();
    const gone = new Set(this.index.gone());
    const remove: string[] = [];
    const unnamed: string[] = [];
    for (const { file, blob, unfinished } of await this.files.list()) {
      const name = blob ?? unfinished;
      if (name === undefined) continue;
      if (gone.has(name)) remove.push(file);
      else if (blob !== undefined) {
        if (!used.has(name)) unnamed.push(name);
      } else if (used.has(name)) await this.files.publish(name, file);
      else if (await isLeftBehind(this.files.path(file))) remove.push(file);
    }
    await this.files.remove(remove);
    return unnamed;
  }
}

/** What earlier versions of Loam kept without `of`: the keys of runs, whose ids begin with that of their data set. */
function runKeySources(kind: string, id: string): string[] {
  return kind === 'run-key' ? [id.split(' ')[0]!] : [];
}

/** An entry whose value has a known shape. */
export interface Row<V> extends Entry {
  value: V;
}

/** What is told of a row outside of the vault. */
export function infoOf<V>({ id, value }: Row<V>): V & { id: string } {
  return { ...value, id };
}

/** The entries of one type. */
export class Table<V extends object> {
  /** @param naming for messages: what one entry is called, and the command that lists them */
  constructor(
    private readonly contents: Contents,
    private readonly type: EntryType,
    private readonly naming: { one: string; list: string },
  ) {}

  all(): Row<V>[] {
    return this.contents.index.all(this.type) as Row<V>[];
  }

  find(which: (value: V) => boolean): Row<V> | undefined {
    return this.all().find(({ value }) => which(value));
  }

  /** @throws LoamError: not-found */
  get(id: string): Row<V> {
    const entry = this.contents.index.get(id);
    if (entry?.type === this.type) return entry as Row<V>;
    const { one, list } = this.naming;
    throw new LoamError({ code: 'not-found', found: `there is no such ${one} in the vault`, fix: `see ${list}` });
  }

  row(value: V, { id = newId(), blob }: { id?: string; blob?: Entry['blob'] } = {}): Row<V> {
    return { id, type: this.type, blob, value };
  }

  /** Changes the value of an entry. */
  async change(id: string, decide: (old: V) => Partial<V>): Promise<Row<V>> {
    return await this.contents.store(undefined, () => {
      const old = this.get(id);
      const row = { ...old, value: { ...old.value, ...decide(old.value) } };
      return { change: { put: [row] }, result: row };
    });
  }
}

/** A stream that lets timers and sockets have their turn between two pieces. */
function pieces(bytes: Uint8Array): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    async pull(controller) {
      await setImmediate();
      if (at < bytes.length) controller.enqueue(bytes.subarray(at, at + PIECE_BYTES));
      at += PIECE_BYTES;
      if (at >= bytes.length) controller.close();
    },
  });
}

/** As the library takes it; other work has its turn between two pieces. */
export function webStream(source: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  const iterator = source[Symbol.asyncIterator]();
  return new ReadableStream({
    async pull(controller) {
      await setImmediate();
      const { done, value } = await iterator.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await iterator.return?.();
    },
  });
}

function fileStream(file: FileHandle): ReadableStream<Uint8Array> {
  return new ReadableStream({
    async pull(controller) {
      const buffer = new Uint8Array(PIECE_BYTES);
      const { bytesRead } = await file.read(buffer, 0, buffer.length);
      if (bytesRead === 0) controller.close();
      else controller.enqueue(buffer.subarray(0, bytesRead));
    },
  });
}
