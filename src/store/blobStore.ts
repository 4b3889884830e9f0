import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { Decrypter, Encrypter, generateX25519Identity, identityToRecipient } from 'age-encryption';
import { systemCode } from '../base/errors.js';
import { explainWriteError, syncFolder, writeAll } from '../base/io.js';

/** Bytes encrypted before other work has its turn: some milliseconds on a laptop. */
const PIECE_BYTES = 128 * 1024;
/** A file that nobody has written to for so long was left by a crash, whatever process has its number now. */
const ABANDONED_MS = 3_600_000;

/** A blob that is on the disk but has no entry in the index yet. */
export interface Pending {
  /** Where the finished file will be. */
  name: string;
  /** The age identity that opens it. */
  secret: string;
  partial: string;
}

/** Why a blob cannot be read. */
export class BlobDamaged extends Error {
  override readonly name = 'BlobDamaged';
}

/** Files of `blobs/`: each written once, an age v1 file with a key of its own, under a random name. */
export class BlobStore {
  constructor(private readonly folder: string) {}

  private path(name: string): string {
    return join(this.folder, name);
  }

  /** Encrypts to a partial file, synced to the disk. `publish` gives it its name. */
  async prepare(bytes: Uint8Array): Promise<Pending> {
    const secret = await generateX25519Identity();
    const encrypter = new Encrypter();
    encrypter.addRecipient(await identityToRecipient(secret));
    const name = randomBytes(16).toString('hex');
    const partial = this.path(`.${process.pid}-${name}.partial`);
    try {
      await mkdir(this.folder, { recursive: true, mode: 0o700 });
      const file = await open(partial, 'wx', 0o600);
      try {
        for await (const piece of await encrypter.encrypt(pieces(bytes))) await writeAll(file, piece);
        await file.sync();
      } finally {
        await file.close();
      }
    } catch (error) {
      await rm(partial, { force: true }).catch(() => {});
      throw explainWriteError(error, this.folder);
    }
    return { name, secret, partial };
  }

  /** Call it under the lock, before the index names the blob. */
  async publish({ partial, name }: Pending): Promise<void> {
    await rename(partial, this.path(name));
    await syncFolder(this.folder);
  }

  /** Removes what `prepare` has made, published or not. */
  async discard({ partial, name }: Pending): Promise<void> {
    await rm(partial, { force: true }).catch(() => {});
    await rm(this.path(name), { force: true }).catch(() => {});
  }

  /** Once the index no longer has the key. A file that cannot be removed is noise, and the next sweep tries again. */
  async remove(names: readonly string[]): Promise<void> {
    for (const name of names) await rm(this.path(name), { force: true }).catch(() => {});
    await syncFolder(this.folder);
  }

  /** @param bytes length of the content @throws BlobDamaged */
  async read(name: string, secret: string, bytes: number): Promise<Uint8Array> {
    const file = await open(this.path(name), 'r').catch((error: NodeJS.ErrnoException) => {
      throw new BlobDamaged(error.code === 'ENOENT' ? 'the file is gone' : `it cannot be read (${error.code})`);
    });
    try {
      const decrypter = new Decrypter();
      decrypter.addIdentity(secret);
      const content = new Uint8Array(bytes);
      let done = 0;
      for await (const piece of await decrypter.decrypt(fileStream(file))) {
        if (done + piece.length > bytes) throw new BlobDamaged('it is longer than it was');
        content.set(piece, done);
        done += piece.length;
      }
      if (done < bytes) throw new BlobDamaged('it is shorter than it was');
      return content;
    } catch (error) {
      if (error instanceof BlobDamaged) throw error;
      const code = systemCode(error);
      throw new BlobDamaged(typeof code === 'string' ? `it cannot be read (${code})` : 'its content was changed');
    } finally {
      await file.close();
    }
  }

  /** Removes files that no entry names: what a crash left behind. Call it under the lock. */
  async sweep(used: ReadonlySet<string>): Promise<void> {
    const names = await readdir(this.folder).catch(() => []);
    for (const name of names) {
      const writer = /^\.(\d+)-[0-9a-f]{32}\.partial$/.exec(name)?.[1];
      const orphan =
        writer === undefined
          ? /^[0-9a-f]{32}$/.test(name) && !used.has(name)
          : await this.isAbandoned(name, Number(writer));
      if (orphan) await rm(this.path(name), { force: true }).catch(() => {});
    }
  }

  private async isAbandoned(name: string, pid: number): Promise<boolean> {
    try {
      process.kill(pid, 0);
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'ESRCH';
    }
    const found = await stat(this.path(name)).catch(() => undefined);
    return found !== undefined && Date.now() - found.mtimeMs > ABANDONED_MS;
  }

  /** Bytes on the disk; 0 for one that is gone. */
  size(name: string): number {
    return statSync(this.path(name), { throwIfNoEntry: false })?.size ?? 0;
  }

  /** Bytes of all files, those that no entry names among them. */
  total(): number {
    if (!existsSync(this.folder)) return 0;
    return readdirSync(this.folder).reduce((sum, name) => sum + this.size(name), 0);
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
