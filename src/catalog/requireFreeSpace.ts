import { statfs } from 'node:fs/promises';
import { LoamError } from '../util/errors.js';
import { bytes } from '../util/format.js';

/** Left free beside the download, so that a full disk does not stop the rest of the device. */
const RESERVE = 64 * 1024 * 1024;

/** Free bytes a user may write in a folder; null where the file system does not say. */
export async function freeBytes(folder: string): Promise<number | null> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch {
    return null;
  }
}

/** LoamError when the disk of `folder` cannot take `need` more bytes (of `what`) and keep 64 MiB free. */
export async function requireFreeSpace(
  folder: string,
  need: number,
  free: (folder: string) => Promise<number | null> = freeBytes,
  what = { name: 'this download', fix: 'free some space, or set LOAM_HOME to a folder on another disk' },
): Promise<void> {
  const have = await free(folder);
  if (have === null || have >= need + RESERVE) return;
  throw new LoamError({
    found: `${what.name} needs ${bytes(need)} and the disk has ${bytes(have)} free`,
    expected: `at least ${bytes(need + RESERVE)}`,
    where: folder,
    fix: what.fix,
  });
}
