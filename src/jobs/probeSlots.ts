import { openRegularFile } from '../util/openRegularFile.js';
import { readPreamble, SLOTS, slotPath } from './checkpointFile.js';

/**
 * The sequence number of each slot's checkpoint, undefined where there is none or its header is damaged. Reads the headers only:
 * quick, but blind to damage in the data.
 */
export async function probeSlots(folder: string): Promise<(number | undefined)[]> {
  return await Promise.all(
    SLOTS.map(async (slot) => {
      try {
        const { file, size } = await openRegularFile(slotPath(folder, slot));
        try {
          return (await readPreamble(file, size)).preamble.sequence;
        } finally {
          await file.close();
        }
      } catch {
        // Whatever is wrong with it: the slot may be written, and an error of the disk will show then.
        return undefined;
      }
    }),
  );
}
