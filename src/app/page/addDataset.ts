import type { DatasetInfo } from '../logic/types.js';
import { ApiError, upload } from './api.js';

/** Tries at another name before the person is asked. */
const TRIES = 20;

/** Stores bytes as a data set; where the name is taken, as "Name 2", "Name 3". */
export async function addDataset(
  name: string,
  bytes: Blob,
  onProgress: (share: number) => void = () => {},
  signal: AbortSignal = new AbortController().signal,
): Promise<DatasetInfo> {
  for (let n = 1; ; n++) {
    try {
      const tried = n === 1 ? name : `${name} ${n}`;
      return await upload(`/api/datasets?name=${encodeURIComponent(tried)}`, bytes, onProgress, signal);
    } catch (error) {
      if (!(error instanceof ApiError && error.fault.code === 'name-taken') || n >= TRIES) throw error;
    }
  }
}
