import { rm } from 'node:fs/promises';
import { syncFolder } from '../util/syncFolder.js';
import { SLOTS, slotPath } from './checkpointFile.js';

/** Removes every checkpoint of a folder for good: none comes back after a power cut. */
export async function removeCheckpoints(folder: string): Promise<void> {
  for (const slot of SLOTS) await rm(slotPath(folder, slot), { recursive: true, force: true });
  await syncFolder(folder);
}
