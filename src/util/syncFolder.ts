import { open } from 'node:fs/promises';

/**
 * Asks the disk to keep the names in a folder (fsync(2): syncing a file does not sync its name). Where a system has no such
 * thing (Windows opens no folders, some file systems refuse) a power cut may undo the last renames: the older files come back.
 */
export async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch {
    // As good as this system allows.
  }
}
