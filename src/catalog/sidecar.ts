/** What is known of a partial download, in a small JSON file beside it. */
import { readFile, rm } from 'node:fs/promises';
import { writeFileAtomic } from '../util/writeFileAtomic.js';

export interface Sidecar {
  version: 1;
  /** The hub's address of the file, without the signed one it leads to. */
  url: string;
  /** The hash the whole file must have. */
  sha256: string;
  /** Bytes of the whole file. */
  size: number;
  /** Validator of the server that sent the bytes, for If-Range; null when it gave none that is strong. */
  etag: string | null;
  commit: string | null;
}

/** Null when there is none or it cannot be used: the download then starts from nothing. */
export async function readSidecar(path: string): Promise<Sidecar | null> {
  try {
    const value = JSON.parse(await readFile(path, 'utf8')) as Partial<Sidecar>;
    const { version, url, sha256, size, etag, commit } = value;
    if (version !== 1 || typeof url !== 'string' || typeof sha256 !== 'string' || typeof size !== 'number') return null;
    return {
      version,
      url,
      sha256,
      size,
      etag: typeof etag === 'string' ? etag : null,
      commit: typeof commit === 'string' ? commit : null,
    };
  } catch {
    return null;
  }
}

export async function writeSidecar(path: string, sidecar: Sidecar): Promise<void> {
  await writeFileAtomic(path, `${JSON.stringify(sidecar, null, 2)}\n`);
}

export async function removeSidecar(path: string): Promise<void> {
  await rm(path, { force: true });
}
