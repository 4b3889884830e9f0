import { setTimeout as sleep } from 'node:timers/promises';
import { broken, checkRules, hasRules, type Rules, requireTold } from '../base/device/rules.js';
import { thisDevice } from '../base/device/thisDevice.js';
import { lookEvery, Watch } from '../base/device/Watch.js';
import { StoppedError, throwIfStopped } from '../base/errors.js';
import { readMemory } from '../base/memory.js';
import type { TuneEvent } from './events.js';

/** A stretch of a run, from its beginning or its last checkpoint. */
interface Stretch {
  /** Fires when the run is to stop, or to pause. */
  signal: AbortSignal;
  /** Seconds that the stretches before it worked. */
  worked: number;
  /** Whether the signal has fired for a pause, after which the next stretch comes. */
  isPaused: () => boolean;
}

/**
 * Does work while the device is as the rules ask: otherwise it waits, and what has begun is stopped, which leaves a checkpoint, and gone
 * on with later.
 * @throws LoamError (unsupported) for rules about what the device does not tell; StoppedError when `signal` fires
 */
export async function whileAllowed<R>(
  rules: Partial<Rules>,
  emit: (event: TuneEvent) => void,
  signal: AbortSignal,
  work: (stretch: Stretch) => Promise<R>,
): Promise<R> {
  if (!hasRules(rules)) return await work({ signal, worked: 0, isPaused: () => false });
  checkRules(rules);
  const device = thisDevice();
  requireTold(rules, await device.read());
  let worked = 0;
  let held = 0;
  for (;;) {
    await untilAllowed(rules, held, emit, signal);
    const pause = new AbortController();
    const isPaused = () => pause.signal.aborted;
    using _ = new Watch(async () => {
      if (isPaused() || broken(rules, await device.read(), { wasRunning: true }).length === 0) return;
      held = readMemory().rss;
      pause.abort();
    });
    const began = performance.now();
    try {
      return await work({ signal: AbortSignal.any([signal, pause.signal]), worked, isPaused });
    } catch (error) {
      if (!(error instanceof StoppedError) || signal.aborted || !isPaused()) throw error;
    }
    worked += (performance.now() - began) / 1000;
  }
}

/** @param held bytes of memory that the run had when it was paused */
async function untilAllowed(
  rules: Partial<Rules>,
  held: number,
  emit: (event: TuneEvent) => void,
  signal: AbortSignal,
): Promise<void> {
  let told = '';
  for (;;) {
    throwIfStopped(signal);
    const needs = Math.max(0, held - readMemory().rss);
    const found = broken(rules, await thisDevice().read(), { wasRunning: false, needs });
    const reasons = found.map(({ clause }) => clause);
    const now = reasons.join('; ');
    if (now !== told) emit({ type: 'waiting', reasons });
    told = now;
    if (reasons.length === 0) return;
    await pauseFor(lookEvery(), signal);
  }
}

/** Ends early when the signal fires. */
export async function pauseFor(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {});
}
