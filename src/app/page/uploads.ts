import type { Upload } from '../../serve/contract/uploads.js';
import { ApiError, call, isAbort, upload } from './api.js';

/** Files of any size on their way to the server, piece by piece: a break costs no more than a piece. */

/** Bytes. */
const PIECE = 4 << 20;
/** Breaks in a row after which it is given up, and milliseconds between two attempts. */
const MOST_BREAKS = 5;
const PAUSE = 1_000;

/**
 * @param onProgress gets a share from 0 to 1
 * @returns the id by which the server knows the file
 */
export async function uploadFile(
  purpose: Upload['purpose'],
  file: File,
  onProgress: (share: number) => void,
  signal: AbortSignal,
): Promise<string> {
  const body = { purpose, name: file.name.slice(-200) || 'file', bytes: file.size };
  const { id } = await call<Upload>('POST', '/api/uploads', { body, signal });
  const path = `/api/uploads/${id}`;
  try {
    let breaks = 0;
    for (let done = 0; done < file.size; ) {
      const from = done;
      const piece = file.slice(from, from + PIECE);
      const told = (share: number) => onProgress((from + share * piece.size) / file.size);
      try {
        done = (await upload<Upload>(`${path}?offset=${from}`, piece, told, signal)).done;
        breaks = 0;
      } catch (error) {
        const mayGoOn = error instanceof ApiError && (error.status === 0 || error.code === 'changed');
        if (!mayGoOn || ++breaks > MOST_BREAKS) throw error;
        await new Promise((resolve) => setTimeout(resolve, PAUSE));
        done = (await call<Upload>('GET', path, { signal })).done;
      }
    }
    return id;
  } catch (error) {
    if (isAbort(error)) void call('DELETE', path).catch(() => {});
    throw error;
  }
}
