import { bytes, count, duration } from '../../base/format.js';
import type { Job, JobEvent, JobState } from '../../serve/contract/jobs.js';
import { followJob } from '../../serve/jobs/Job.js';
import type { Stage } from '../../train/events.js';

/** Times, sizes and chances in words; a run in words: names of its states and stages, and the log that its events make. */

const day = 86_400_000;

export function when(iso: string, now = Date.now()): string {
  const time = Date.parse(iso);
  if (Number.isNaN(time)) return '';
  const date = new Date(time);
  const clock = date.toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit' });
  const midnight = new Date(now).setHours(0, 0, 0, 0);
  if (time >= midnight) return `today, ${clock}`;
  if (time >= midnight - day) return `yesterday, ${clock}`;
  return date.toLocaleDateString(undefined, { day: 'numeric', month: 'short', year: 'numeric' });
}

/** "1 example", "3,000 examples". */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** A rough time: "about 4 minutes". */
export function roughly(seconds: number): string {
  if (seconds < 8) return 'a few seconds';
  if (seconds < 50) return `about ${Math.round(seconds / 10) * 10} seconds`;
  if (seconds < 90) return 'about a minute';
  if (seconds < 3_300) return `about ${Math.round(seconds / 60)} minutes`;
  const hours = seconds / 3_600;
  return hours < 1.25 ? 'about an hour' : `about ${Number(hours.toFixed(hours < 5 ? 1 : 0))} hours`;
}

/** Bytes with the digits that matter to a person: "612 MB", "1.4 GB". */
export function size(n: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let value = n;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit > 0 && value < 9.95 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** How sure the model is of the right answer: exp(-NLL) is the mean chance that it gives each token of it. */
export function asChance(nll: number): string {
  const percent = 100 * Math.exp(-nll);
  return `${percent.toFixed(percent < 10 ? 1 : 0)}%`;
}

export const stateNames: Readonly<Record<JobState, string>> = {
  queued: 'Waiting',
  running: 'Learning',
  paused: 'Paused',
  interrupted: 'Interrupted by the system',
  done: 'Done',
  failed: 'Failed',
  cancelled: 'Stopped',
};

export const stageNames: Readonly<Record<Stage | 'probe', string>> = {
  hash: 'Checking the model file',
  embed: 'Reading the examples',
  ridge: 'First fit',
  qlora: 'Learning from your examples',
  measure: 'Measuring',
  answers: 'Writing answers',
  probe: 'Testing what it has memorised',
};

/** A run as the page shows it: the job as the server kept it, continued by the events after that, and its log. */
export interface RunView {
  job: Job;
  log: readonly string[];
  /** Number of the last event, from which the stream continues. */
  lastId: number;
}

/** Lines of the log that are kept: otherwise a run of hours would fill the phone's memory. */
const LOG_LINES = 400;

export function openRun(job: Job): RunView {
  return { job, log: [], lastId: 0 };
}

/**
 * The view after one more event. The log is read from its beginning, and the job is followed from where the server left it. Events
 * that were seen already (a stream may repeat some after a break) change nothing.
 * @param id number of the event, 0 for one of this moment only
 */
export function withEvent(view: RunView, id: number, event: JobEvent): RunView {
  if (id > 0 && id <= view.lastId) return view;
  const line = logLine(event);
  const isNew = id === 0 || id > view.job.lastEvent;
  return {
    job: isNew ? followJob(view.job, { n: id || undefined, event }) : view.job,
    log: line === undefined ? view.log : [...view.log, line].slice(-LOG_LINES),
    lastId: Math.max(id, view.lastId),
  };
}

/** None for what the curve shows. */
function logLine(event: JobEvent): string | undefined {
  switch (event.type) {
    case 'data':
      return `${count(event.train)} examples to learn from, ${count(event.validation)} held out; ${count(event.tokens)} tokens of answers`;
    case 'problem':
      return `line ${count(event.problem.line)}${event.problem.severity === 'error' ? ' left out' : ''}: ${event.problem.reason}`;
    case 'warning':
      return event.message;
    case 'model':
      return `model ${event.name}: ${event.layers} layers, ${count(event.parameters)} parameters`;
    case 'stage':
      return event.message;
    case 'quote':
      return `training ${event.layers} layers takes at most ${duration(event.seconds)} and ${bytes(event.memoryBytes)} of memory`;
    case 'resumed':
      return event.layer === undefined ? `resumes from step ${count(event.step)}` : `resumes at layer ${event.layer}`;
    case 'validation':
      return `step ${count(event.step)}: held-out loss ${shown(event.nll)}${event.best ? ', the best so far' : ''}`;
    case 'sweep':
      return `pass ${event.sweep}: held-out loss ${shown(event.nll.validation)}`;
    case 'restart':
      return 'starts again from the first fit, which is ahead';
    case 'run':
      return `run ${event.run} of ${event.runs}; the mean of all is kept`;
    case 'diverged':
      return `the loss diverged at step ${count(event.step)}: back to step ${count(event.backTo)}, with smaller steps`;
    case 'state':
      return event.message || stateNames[event.state].toLowerCase();
    case 'result':
      return `loss ${event.result.nll.base.toFixed(3)} before, ${event.result.nll.adapted.toFixed(3)} after; took ${duration(event.result.seconds)}`;
    default:
      return undefined;
  }
}

/** A loss that left all bounds is no number. */
function shown(nll: number | null): string {
  return nll?.toFixed(3) ?? 'unknown';
}
