import { readPreamble, SLOTS, slotPath } from './checkpointFile.js';
import { openCheckpoint } from './openCheckpoint.js';

/**
 * The sequence number of each slot's checkpoint, undefined where there is none or its header is damaged. Reads the headers only:
 * quick, but blind to damage in the data.
 */
export async function probeSlots(folder: string, key?: Uint8Array): Promise<(number | undefined)[]> {
  return await Promise.all(
    SLOTS.map(async (slot) => {
      try {
        const { file, size, close } = await openCheckpoint(slotPath(folder, slot), key);
        try {
          return (await readPreamble(file, size)).preamble.sequence;
        } finally {
          await close();
        }
      } catch {
        // Whatever is wrong with it: the slot may be written, and an error of the disk will show then.
        return undefined;
      }
    }),
  );
}
