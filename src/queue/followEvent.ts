import { thinPoints } from '../jobs/thinPoints.js';
import type { TuneEvent } from '../tune/events.js';
import type { Job } from './Job.js';

/** Points of a curve that are kept: as many as a phone's screen can show. */
const MAX_POINTS = 400;
/** Weight of a new reading of the time a step takes. */
const WEIGHT = 0.1;
/** Seconds between two estimates. */
const ETA_EVERY = 2;

/** Pace of a run; forgotten with its process. */
const paces = new WeakMap<Job, { step: number; at: number; perStep?: number; told: number }>();

/**
 * Keeps a job's state up with an event of its run.
 * @returns whether the event is of this moment only, and whether there is a new estimate of the time left
 */
export function followEvent(job: Job, event: TuneEvent): { passing: boolean; eta: boolean } {
  switch (event.type) {
    case 'stage':
      job.stage = event.stage;
      job.progress = undefined;
      return { passing: false, eta: false };
    case 'progress':
      job.stage = event.stage;
      job.progress = { done: event.done, total: event.total };
      return { passing: true, eta: false };
    case 'quote': {
      const { type: _, cheaper: __, availableBytes: ___, ...quote } = event;
      job.quote = quote;
      job.etaSeconds = quote.seconds;
      return { passing: false, eta: true };
    }
    case 'resumed':
      rewind(job, event.step);
      return { passing: false, eta: false };
    case 'restart':
    case 'diverged':
      rewind(job, event.type === 'restart' ? 0 : event.backTo);
      return { passing: false, eta: false };
    case 'step':
      if (event.step > job.step) {
        job.step = event.step;
        job.deaths = 0;
      }
      job.curve.train = thin([...job.curve.train, [event.step, event.loss]]);
      job.curve.steps = event.steps;
      return { passing: false, eta: estimate(job, event.step, event.steps) };
    case 'validation':
      job.curve.validation = thin([...job.curve.validation, [event.step, event.nll]]);
      return { passing: false, eta: false };
    default:
      return { passing: false, eta: false };
  }
}

/** What came after a step is computed again. */
function rewind(job: Job, step: number): void {
  const upTo = (points: [number, number][]) => points.filter(([at]) => at <= step);
  job.curve.train = upTo(job.curve.train);
  job.curve.validation = upTo(job.curve.validation);
  paces.delete(job);
}

function thin(points: [number, number][]): [number, number][] {
  // In steps of twice the number, so that not every point makes all be looked at.
  if (points.length < 2 * MAX_POINTS) return points;
  return thinPoints(
    points.map(([x, y]) => ({ x, y })),
    MAX_POINTS,
  ).map(({ x, y }) => [x, y]);
}

function estimate(job: Job, step: number, steps: number): boolean {
  const now = performance.now() / 1000;
  const known = paces.get(job);
  if (!known || step <= known.step) {
    paces.set(job, { step, at: now, told: 0 });
    return false;
  }
  const reading = (now - known.at) / (step - known.step);
  const perStep = known.perStep === undefined ? reading : (1 - WEIGHT) * known.perStep + WEIGHT * reading;
  const isDue = now - known.told >= ETA_EVERY;
  paces.set(job, { step, at: now, perStep, told: isDue ? now : known.told });
  job.etaSeconds = Math.max(0, steps - step) * perStep;
  return isDue;
}
