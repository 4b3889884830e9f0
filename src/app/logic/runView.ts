import type { Job, JobEvent, JobResult, JobState } from '../../serve/contract/jobs.js';
import type { Stage } from '../../train/events.js';
import { logLine } from './words.js';

export interface Point {
  x: number;
  y: number;
}

/** What the progress page shows of a run; made by its events alone, in order, so a reloaded page shows the same. */
export interface RunView {
  state: JobState;
  message: string;
  stage?: Stage | 'probe';
  progress?: { done: number; total: number };
  etaSeconds?: number;
  train: Point[];
  validation: Point[];
  /** Where training started anew, as steps on the curve. */
  steps?: number;
  latest?: Extract<JobEvent, { type: 'step' }>;
  best?: number;
  quote?: Extract<JobEvent, { type: 'quote' }>;
  result?: JobResult;
  adapter?: Job['adapter'];
  log: { at: number; text: string }[];
  /** Number of the last event, for the stream to go on from. */
  lastId: number;
}

/** Lines of the log that are kept: a run of hours would else fill the phone's memory. */
const LOG_LINES = 400;

export function emptyRun(job?: Job): RunView {
  return {
    state: job?.state ?? 'queued',
    message: job?.message ?? '',
    etaSeconds: job?.etaSeconds,
    train: [],
    validation: [],
    result: job?.result,
    adapter: job?.adapter,
    log: [],
    lastId: 0,
  };
}

/** The view after one more event. Events that were seen already (a stream may repeat some after a break) change nothing. */
export function withEvent(view: RunView, id: number, event: JobEvent, at: number): RunView {
  if (id > 0 && id <= view.lastId) return view;
  const next: RunView = { ...view, lastId: Math.max(id, view.lastId) };
  const line = logLine(event);
  if (line !== undefined) next.log = [...view.log, { at, text: line }].slice(-LOG_LINES);
  switch (event.type) {
    case 'state':
      next.state = event.state;
      next.message = event.message ?? '';
      if (event.state !== 'running') next.etaSeconds = undefined;
      break;
    case 'eta':
      next.etaSeconds = event.seconds;
      break;
    case 'stage':
      next.stage = event.stage;
      next.message = event.message;
      next.progress = undefined;
      break;
    case 'progress':
      next.stage = event.stage;
      next.progress = { done: event.done, total: event.total };
      break;
    case 'probing':
      next.stage = 'probe';
      next.message = '';
      next.progress = { done: event.done, total: event.total };
      break;
    case 'quote':
      next.quote = event;
      break;
    case 'resumed':
      // Steps after the checkpoint are done again.
      next.train = view.train.filter(({ x }) => x <= event.step);
      next.validation = view.validation.filter(({ x }) => x <= event.step);
      break;
    case 'run':
      next.steps = event.step + event.steps;
      break;
    case 'step':
      next.stage = 'qlora';
      next.latest = event;
      next.steps = event.steps;
      next.progress = { done: event.step, total: event.steps };
      next.train = withPoint(view.train, event.step, event.loss);
      break;
    case 'validation':
      next.validation = withPoint(view.validation, event.step, event.nll);
      next.best = least(view.best, event.nll);
      break;
    case 'sweep':
      // Ridge has no steps: its passes are the curve, until gradients take over.
      if (view.latest === undefined) {
        next.train = withPoint(view.train, event.sweep, event.nll.train);
        next.validation = withPoint(view.validation, event.sweep, event.nll.validation);
        next.best = least(view.best, event.nll.validation);
      }
      break;
    case 'restart':
    case 'diverged':
      break;
    case 'result':
      next.result = event.result;
      next.adapter = event.adapter;
      break;
  }
  // The sweeps of ridge and the steps of training count differently.
  if (event.type === 'step' && view.latest === undefined) {
    next.train = withPoint([], event.step, event.loss);
    next.validation = [];
  }
  return next;
}

/** A curve with one more point; a figure beyond all bounds has none. */
function withPoint(points: readonly Point[], x: number, y: number | null): Point[] {
  return y === null ? [...points] : [...points, { x, y }];
}

function least(best: number | undefined, nll: number | null): number | undefined {
  return nll === null ? best : Math.min(best ?? nll, nll);
}
