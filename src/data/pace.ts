import { setImmediate } from 'node:timers/promises';
import { throwIfStopped } from '../util/errors.js';

/**
 * Keeps long work from holding the event loop: `if (pace.due) await pace.rest()` between small steps lets timers, sockets and
 * the signal have their turn. `rest` throws StoppedError once the signal has fired.
 */
export class Pace {
  private since = performance.now();

  /** `budgetMs`: longest stretch between two rests; 8 ms is half a frame of a 60 Hz screen. */
  constructor(
    readonly signal?: AbortSignal,
    readonly budgetMs = 8,
  ) {
    throwIfStopped(signal);
  }

  get due(): boolean {
    return performance.now() - this.since >= this.budgetMs;
  }

  async rest(): Promise<void> {
    await setImmediate();
    throwIfStopped(this.signal);
    this.since = performance.now();
  }
}
