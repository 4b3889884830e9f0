import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { LoamError } from './errors.js';

const reasons: Record<string, string> = {
  ENOENT: 'there is no file here',
  ENOTDIR: 'there is no file here',
  EACCES: 'no permission to read this file',
  EPERM: 'no permission to read this file',
  EISDIR: 'this is a folder',
  ELOOP: 'this is a loop of links',
};

/** Turns a reading error of the system into a sentence; any other error (a bug, a LoamError) comes back as it is. */
export function explainReadError(error: unknown, path: string): unknown {
  const code = (error as NodeJS.ErrnoException)?.code;
  if (typeof code !== 'string') return error;
  const found = reasons[code] ?? `the file cannot be read (${code})`;
  return new LoamError({ found, where: path, expected: code === 'EISDIR' ? 'a file' : undefined }, { cause: error });
}

/**
 * Opens a regular file for reading and tells its size in bytes. Pipes, devices, sockets and folders are refused: they have
 * no size that tensor offsets could be held against. Throws LoamError.
 */
export async function openRegularFile(path: string): Promise<{ file: FileHandle; size: number }> {
  let file: FileHandle | undefined;
  try {
    // Without O_NONBLOCK (absent on Windows) opening a named pipe waits for its writer, perhaps for ever.
    file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    const stat = await file.stat();
    if (!stat.isFile()) {
      const found = stat.isDirectory() ? 'this is a folder' : 'this is a device, pipe or socket';
      throw new LoamError({ found, expected: 'a regular file', where: path });
    }
    return { file, size: stat.size };
  } catch (error) {
    await file?.close();
    throw explainReadError(error, path);
  }
}
