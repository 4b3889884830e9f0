import { setTimeout as sleep } from 'node:timers/promises';
import { StoppedError, throwIfStopped } from '../util/errors.js';

/** Waits so many milliseconds; StoppedError as soon as the signal fires. */
export async function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  throwIfStopped(signal);
  try {
    await sleep(milliseconds, undefined, signal === undefined ? {} : { signal });
  } catch {
    throw new StoppedError();
  }
}
