import { thinPoints } from '../base/curve.js';
import type { Quote, TuneEvent } from './events.js';

/**
 * How far a run is and how it went, folded from its events. One fold for all who show it: the queue keeps its result with the job, the
 * page goes on from what the queue kept, the report draws the same curves. Pure, and plain JSON, so that it does not matter where
 * among the events it is put down and taken up again.
 */
export interface RunFigures {
  stage?: StageShown;
  /** What is being done, in words. */
  doing?: string;
  progress?: { done: number; total: number };
  /** Time that the rest of the run takes. */
  etaSeconds?: number;
  quote?: Quote & { layers: number };
  /** Of the newest step. */
  latest?: { step: number; steps: number; tokensPerSecond: number; rssBytes: number };
  curve: RunCurve;
}

type StageShown = Extract<TuneEvent, { type: 'stage' }>['stage'] | 'probe';

/** Pairs of step and NLL, thinned. */
export interface RunCurve {
  train: Point[];
  validation: Point[];
  /** How many steps there are going to be. */
  steps?: number;
  /** Ridge has no steps: its passes stand in their place until gradients take over. */
  passes?: boolean;
}

type Point = [step: number, nll: number];

/** Points of a curve that are kept: as many as a phone's screen can show. */
const MAX_POINTS = 400;

/** The figures after one more event. */
export function followRun<F extends RunFigures>(figures: F, event: TuneEvent): F {
  switch (event.type) {
    case 'stage':
      return { ...figures, stage: event.stage, doing: event.message, progress: undefined };
    case 'progress':
      return { ...figures, stage: event.stage, progress: { done: event.done, total: event.total } };
    case 'quote': {
      const { type: _, availableBytes: __, cheaper: ___, ...quote } = event;
      const { seconds } = quote;
      return { ...figures, quote, etaSeconds: seconds };
    }
    case 'step': {
      const { step, steps, tokensPerSecond, rssBytes } = event;
      return {
        ...figures,
        stage: 'qlora',
        progress: { done: step, total: steps },
        latest: { step, steps, tokensPerSecond, rssBytes },
        curve: followCurve(figures, event),
      };
    }
    default:
      return { ...figures, curve: followCurve(figures, event) };
  }
}

function followCurve({ curve, latest }: RunFigures, event: TuneEvent): RunCurve {
  const { train, validation } = curve;
  switch (event.type) {
    case 'sweep': {
      if (latest) return curve;
      const before = (points: Point[]) => points.filter(([pass]) => pass < event.sweep);
      return {
        ...curve,
        passes: true,
        train: withPoint(before(train), event.sweep, event.nll.train),
        validation: withPoint(before(validation), event.sweep, event.nll.validation),
      };
    }
    case 'resumed': {
      // The passes of ridge before it are what they were.
      if (event.layer !== undefined) return curve;
      const kept = (points: Point[]) => points.filter(([step]) => isKept(step, event));
      return { ...curve, train: kept(train), validation: kept(validation) };
    }
    case 'run':
      return { ...curve, steps: event.step + event.steps };
    case 'step': {
      const { step, steps, loss } = event;
      // A run that was killed before its first checkpoint starts over, without a word.
      const before = (points: Point[]) => (curve.passes ? [] : points.filter(([at]) => at < step));
      return { train: withPoint(before(train), step, loss), validation: before(validation), steps };
    }
    case 'validation':
      return curve.passes
        ? { train: [], validation: withPoint([], event.step, event.nll) }
        : { ...curve, validation: withPoint(validation, event.step, event.nll) };
    default:
      return curve;
  }
}

/**
 * Whether what was measured at a step stands when a run goes on from a checkpoint: later steps are done again. Nothing else takes a
 * curve back: after `restart` and `diverged` the parameters are earlier ones, and the steps count on.
 */
export function isKept(step: number, resumed: { step: number }): boolean {
  return step <= resumed.step;
}

/** A curve with one more point; a figure beyond all bounds gives none. */
function withPoint(points: Point[], step: number, nll: number | null): Point[] {
  if (nll === null) return points;
  const all: Point[] = [...points, [step, nll]];
  // In steps of twice the number, so that not every point makes all be looked at.
  if (all.length < 2 * MAX_POINTS) return all;
  return thinPoints(
    all.map(([x, y]) => ({ x, y })),
    MAX_POINTS,
  ).map(({ x, y }) => [x, y]);
}
