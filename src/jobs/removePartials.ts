import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** Names as `writeFileAtomic` gives them to unfinished files. */
const PARTIAL = /^\..+\.[0-9a-f]{8}\.partial$/;

/** Removes what killed runs left unfinished in a folder; each may be as large as a checkpoint. Nobody else may be writing there. */
export async function removePartials(folder: string): Promise<void> {
  for (const name of await readdir(folder)) if (PARTIAL.test(name)) await rm(join(folder, name), { force: true });
}
