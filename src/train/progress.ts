import { hashFile } from '../base/io.js';
import type { TuneEvent } from './events.js';

/** Milliseconds between two events of progress. */
const interval = 200;

/** Hands on the events of a fit, those of progress named after their stage and at most five a second, the last in any case. */
export function thinProgress<S extends string, E extends { type: string }>(
  stage: S,
  emit: (event: E | { type: 'progress'; stage: S; done: number; total: number }) => void,
): (event: E | { type: 'progress'; done: number; total: number }) => void {
  let last = 0;
  return (event) => {
    if (!('done' in event)) {
      emit(event);
      return;
    }
    const now = performance.now();
    if (now - last < interval && event.done < event.total) return;
    last = now;
    emit({ ...event, stage });
  };
}

/** A figure as events tell it: JSON has neither NaN nor infinity. */
export function figure(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

/** sha256 of a file, hex, telling how far it is. */
export async function hashWithProgress(
  path: string,
  emit: (event: Extract<TuneEvent, { type: 'progress' }>) => void,
  signal: AbortSignal,
): Promise<string> {
  return await hashFile(path, signal).each((at) => emit({ type: 'progress', stage: 'hash', ...at }));
}
