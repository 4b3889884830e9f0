import { open } from 'node:fs/promises';

/** Whether a file begins with "GGUF" (ggml docs/gguf.md). Throws the file system's errors. */
export async function isGguf(path: string): Promise<boolean> {
  const file = await open(path, 'r');
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(4), 0, 4, 0);
    return bytesRead === 4 && buffer.toString('latin1') === 'GGUF';
  } finally {
    await file.close();
  }
}
