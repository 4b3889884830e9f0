import { randomBytes } from 'node:crypto';
import { closeSync, constants, fstatSync, lstatSync, openSync, readSync } from 'node:fs';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { LoamError } from './errors.js';
import { writeAll } from './io.js';

/**
 * Files in folders of our own. Others may write there too (a sync tool, another program of the user): so what is opened is a regular
 * file, no link is followed, nothing is waited for, and nothing is read without bound.
 */

/** Both are absent on Windows, where a link is seen by its stat. */
const CAREFUL = (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

function isLink(path: string): boolean {
  return constants.O_NOFOLLOW === undefined && lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
}

/**
 * Opens a file of ours.
 * @param flags of open(2) besides those that make it careful; O_RDONLY if absent
 * @param mode of one that is made by it (O_CREAT)
 * @throws LoamError (unreadable) for what is no regular file; the file system's errors, ELOOP for a link
 */
export async function openOwn(path: string, flags = constants.O_RDONLY, mode = 0o600): Promise<FileHandle> {
  const file = isLink(path) ? undefined : await open(path, flags | CAREFUL, mode);
  if (file && (await file.stat()).isFile()) return file;
  await file?.close();
  throw new LoamError({
    code: 'unreadable',
    found: 'no regular file',
    expected: 'a file that Loam wrote',
    where: path,
  });
}

/** A small file of ours; undefined if it is not there, cannot be read, is no regular file, or has more than `most` bytes. */
export function readOwn(path: string, most: number): Buffer | undefined {
  let file: number | undefined;
  try {
    if (isLink(path)) return undefined;
    file = openSync(path, constants.O_RDONLY | CAREFUL);
    const stat = fstatSync(file);
    if (!stat.isFile() || stat.size > most) return undefined;
    const content = Buffer.alloc(stat.size);
    let done = 0;
    for (let read = 1; read > 0 && done < content.length; done += read) {
      read = readSync(file, content, done, content.length - done, done);
    }
    return content.subarray(0, done);
  } catch {
    return undefined;
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/** Bytes of what lies there; 0 if nothing does. */
export function sizeOf(path: string): number {
  return lstatSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** Removes a file, its content overwritten first as far as the medium allows. */
export async function shred(path: string): Promise<void> {
  const file = await openOwn(path, constants.O_RDWR).catch(() => undefined);
  if (file) {
    await overwrite(file);
    await file.close();
  }
  await rm(path, { recursive: true, force: true });
}

/** That it could not be done is no reason to fail. */
export async function overwrite(file: FileHandle): Promise<void> {
  try {
    const { size, nlink } = await file.stat();
    // Under another name too it may be anybody's.
    if (nlink > 1) return;
    await writeAll(file, randomBytes(size), 0);
    await file.sync();
  } catch {
    // The file system's affair.
  }
}
