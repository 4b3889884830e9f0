import { type FileHandle, mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { LoamError } from '../base/errors.js';
import { explainWriteError, requireFreeSpace, writeAll } from '../base/io.js';
import { Mutex } from '../base/lock.js';
import { partialPath, sweepOnce } from '../base/unfinished.js';
import { modelsFolder } from '../models/register.js';
import { newId } from '../store/types.js';
import type { Upload, UploadInput } from './contract/uploads.js';
import { serverFolder } from './http/apiKeys.js';
import { notFound } from './http/errors.js';

/**
 * Files that come from a browser piece by piece, straight to the disk: of any size, and gone on with after a break. An unfinished one has a
 * name that whoever comes next to the folder knows to remove.
 */

/** Unfinished ones at a time; beyond, the one that nothing came of for longest gives way if it has been silent for a while. */
const MOST = 4;
const SILENT_MS = 10 * 60_000;

interface Coming {
  at: Upload;
  path: string;
  file: FileHandle;
  /** `performance.now` of the last piece. */
  touched: number;
  readonly writing: Mutex;
}

export class Uploads implements AsyncDisposable {
  private readonly coming = new Map<string, Coming>();

  constructor(private readonly home: string) {}

  /** @throws LoamError: disk-full, unwritable, busy */
  async begin({ purpose, name, bytes }: UploadInput): Promise<Upload> {
    await this.makeRoom();
    // On the file system where it is to stay.
    const folder = purpose === 'model' ? join(modelsFolder(this.home), 'added') : serverFolder(this.home);
    const path = partialPath(join(folder, 'upload'));
    const what = { name: 'this file', fix: 'free some space' };
    try {
      await mkdir(folder, { recursive: true });
      await sweepOnce(folder);
      await requireFreeSpace(folder, bytes, undefined, what);
      const file = await open(path, 'wx+', 0o600);
      const at: Upload = { id: newId(), purpose, name, bytes, done: 0 };
      this.coming.set(at.id, { at, path, file, touched: performance.now(), writing: new Mutex() });
      return at;
    } catch (error) {
      throw explainWriteError(error, folder);
    }
  }

  private async makeRoom(): Promise<void> {
    if (this.coming.size < MOST) return;
    const [oldest] = [...this.coming.values()].sort((a, b) => a.touched - b.touched);
    if (performance.now() - oldest!.touched < SILENT_MS) {
      throw new LoamError({ code: 'busy', found: 'other files are being received', fix: 'try again in a while' });
    }
    await this.drop(oldest!.at.id);
  }

  private find(id: string): Coming {
    const found = this.coming.get(id);
    if (!found) throw notFound('upload of that id: it was ended, or the server was started anew');
    return found;
  }

  get(id: string): Upload {
    return this.find(id).at;
  }

  /** @throws LoamError: changed, for a piece that is not the next one; too-large, disk-full */
  async write(id: string, offset: number, piece: Uint8Array): Promise<Upload> {
    const coming = this.find(id);
    const { at, file, path, writing } = coming;
    return await writing.run(async () => {
      coming.touched = performance.now();
      if (offset !== at.done) {
        throw new LoamError({ code: 'changed', found: `the piece at ${offset}`, expected: `the one at ${at.done}` });
      }
      if (at.done + piece.length > at.bytes) {
        throw new LoamError({ code: 'too-large', found: 'more than was announced', expected: `${at.bytes} bytes` });
      }
      try {
        await writeAll(file, piece, at.done);
      } catch (error) {
        throw explainWriteError(error, path);
      }
      at.done += piece.length;
      return at;
    });
  }

  /**
   * Hands over a file that is whole; afterwards it is gone, unless it was given another name, or the person only has to say something else.
   * @throws LoamError: not-found; conflict, if it is not whole, or meant for something else
   */
  async use<T>(id: string, purpose: Upload['purpose'], work: (path: string) => Promise<T>): Promise<T> {
    const { at, file, path, writing } = this.find(id);
    if (at.purpose !== purpose || at.done < at.bytes) {
      const found = at.purpose === purpose ? `${at.done} of ${at.bytes} bytes` : `a file for another purpose`;
      throw new LoamError({ code: 'conflict', found, expected: 'the whole file' });
    }
    let again = false;
    try {
      return await writing.run(async () => {
        if (file.fd >= 0) await file.sync();
        // Closing again is nothing.
        await file.close();
        return await work(path);
      });
    } catch (error) {
      again = error instanceof LoamError && /^(confirm|wrong-passphrase|busy|exists)$/.test(error.code);
      throw error;
    } finally {
      if (!again) await this.drop(id);
    }
  }

  async drop(id: string): Promise<void> {
    const found = this.coming.get(id);
    this.coming.delete(id);
    await found?.writing.run(async () => {
      await found.file.close();
      await rm(found.path, { force: true });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.coming.keys()].map((id) => this.drop(id)));
  }
}
