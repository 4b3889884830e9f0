import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { syncFolder } from '../util/syncFolder.js';
import { explainWriteError } from '../util/writeFileAtomic.js';

/** Largest file read: an index of tens of thousands of entries has some megabytes. */
const MAX_BYTES = 256 << 20;

/** Where the second copy lies. */
export function copyPath(path: string): string {
  return `${path}.copy`;
}

/**
 * Writes a small file twice, so that damage to one copy loses nothing. Both are on the disk before either takes its name: a full disk
 * or a crash leaves the old pair, or the new one, or the new file with the old copy.
 * @param scrub overwrites the blocks of the older files afterwards. That reaches the medium on disks that write in place, and not
 *   on flash memory or file systems that write elsewhere
 */
export async function writeMirrored(path: string, content: Uint8Array, { scrub = false } = {}): Promise<void> {
  const paths = [path, copyPath(path)];
  const partials = paths.map((p) => join(dirname(p), `.${basename(p)}.${randomBytes(4).toString('hex')}.partial`));
  const old: FileHandle[] = [];
  try {
    for (const partial of partials) {
      const file = await open(partial, 'wx', 0o600);
      try {
        await file.writeFile(content);
        await file.sync();
      } finally {
        await file.close();
      }
    }
    // Windows does not rename over open files.
    if (scrub && process.platform !== 'win32') {
      for (const p of paths)
        await open(p, 'r+').then(
          (file) => old.push(file),
          () => {},
        );
    }
    for (const [i, partial] of partials.entries()) await rename(partial, paths[i]!);
    await syncFolder(dirname(path));
    for (const file of old) await overwrite(file);
  } catch (error) {
    for (const partial of partials) await rm(partial, { force: true }).catch(() => {});
    throw explainWriteError(error, path);
  } finally {
    for (const file of old) await file.close().catch(() => {});
  }
}

/** Removes both copies, their content overwritten first. */
export async function removeMirrored(path: string): Promise<void> {
  for (const p of [path, copyPath(path)]) {
    const file = await open(p, 'r+').catch(() => undefined);
    if (file) {
      await overwrite(file);
      await file.close();
    }
    await rm(p, { force: true });
  }
  await syncFolder(dirname(path));
}

/** As far as the medium allows; that it could not be done is no reason to fail. */
async function overwrite(file: FileHandle): Promise<void> {
  try {
    const { size } = await file.stat();
    await file.write(randomBytes(size), 0, size, 0);
    await file.sync();
  } catch {
    // The file system's affair.
  }
}

/** Whether both copies are there and alike. */
export function isMirrored(path: string): boolean {
  const [first, second] = [readSmall(path), readSmall(copyPath(path))];
  return first !== undefined && second !== undefined && first.equals(second);
}

/** Both copies, the first one first; without those that are not there, cannot be read, or are the same. */
export function readMirrored(path: string): Buffer[] {
  const found = [path, copyPath(path)].flatMap((p) => {
    const content = readSmall(p);
    return content === undefined ? [] : [content];
  });
  return found.length === 2 && found[0]!.equals(found[1]!) ? found.slice(0, 1) : found;
}

function readSmall(path: string): Buffer | undefined {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    return undefined;
  }
  try {
    const content = readFileSync(fd);
    return content.length > MAX_BYTES ? undefined : content;
  } catch {
    return undefined;
  } finally {
    closeSync(fd);
  }
}
