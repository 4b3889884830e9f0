import { open, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LoamError } from './errors.js';
import { explainWriteError } from './writeFileAtomic.js';

/**
 * Checks that a file can be made under this name, before the work whose result it will hold: tries with an empty file in the
 * folder, or in the nearest one that exists. Makes no folder.
 * @throws LoamError that says what is in the way
 */
export async function requireWritable(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  // The rename at the end would put a file in the place of a device such as /dev/null.
  if (found && !found.isFile()) {
    throw new LoamError({
      found: found.isDirectory() ? 'this is a folder' : 'this is a pipe or a device',
      expected: 'the path of a file to write',
      where: path,
      fix: 'choose another path',
    });
  }
  let folder = dirname(path);
  while (folder !== dirname(folder) && !(await stat(folder).catch(() => undefined))) folder = dirname(folder);
  const probe = join(folder, `.loam-${process.pid}.probe`);
  try {
    await (await open(probe, 'wx', 0o600)).close();
    await rm(probe);
  } catch (error) {
    throw explainWriteError(error, path);
  }
}
