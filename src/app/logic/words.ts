import type { FindingKind } from '../../examples/personal/finding.js';
import type { Job, JobEvent, JobState } from '../../serve/contract/jobs.js';
import { followJob } from '../../serve/jobs/Job.js';
import type { Stage } from '../../train/events.js';
import { language, number, place, t } from './language.js';

/** Times, sizes and chances in words; a run in words: names of its states and stages, and the log that its events make. */

const DAY = 86_400_000;

export function when(iso: string, now = Date.now()): string {
  const time = Date.parse(iso);
  if (Number.isNaN(time)) return '';
  const date = new Date(time);
  const clock = date.toLocaleTimeString(place(), { hour: '2-digit', minute: '2-digit' });
  const midnight = new Date(now).setHours(0, 0, 0, 0);
  if (time >= midnight) return t('today, {time}', { time: clock });
  if (time >= midnight - DAY) return t('yesterday, {time}', { time: clock });
  return day(iso);
}

/** The date alone: "30 Nov 2026". */
export function day(iso: string): string {
  return new Date(iso).toLocaleDateString(place(), { day: 'numeric', month: 'short', year: 'numeric' });
}

/** A rough time: "about 4 minutes". */
export function roughly(seconds: number): string {
  if (seconds < 8) return t('a few seconds');
  if (seconds < 50) return t('about {n} seconds', { n: Math.round(seconds / 10) * 10 });
  if (seconds < 90) return t('about a minute');
  if (seconds < 3_300) return t('about {n} minutes', { n: Math.round(seconds / 60) });
  const hours = seconds / 3_600;
  return hours < 1.25 ? t('about an hour') : t('about {n} hours', { n: Number(hours.toFixed(hours < 5 ? 1 : 0)) });
}

/** Bytes with the digits that matter to a person: "612 MB", "1.4 GB". */
export function size(n: number): string {
  const units = ['', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let value = n;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  if (unit === 0) return t('{n} bytes', { n });
  return `${number(value < 9.95 ? value : Math.round(value), value < 9.95 ? 1 : 0)} ${units[unit]}`;
}

/** Seconds as a stopwatch has them: "4.2 s", "1 min 05 s", "2 h 03 min". */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  const two = (n: number) => String(n).padStart(2, '0');
  if (whole < 60) return t('{s} s', { s: number(seconds, seconds < 9.95 ? 1 : 0) });
  if (whole < 3600) return t('{min} min {s} s', { min: Math.floor(whole / 60), s: two(whole % 60) });
  return t('{h} h {min} min', { h: Math.floor(whole / 3600), min: two(Math.floor((whole % 3600) / 60)) });
}

export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** How sure the model is of the right answer: exp(-NLL) is the mean chance that it gives each token of it. */
export function asChance(nll: number): string {
  const percent = 100 * Math.exp(-nll);
  return `${number(percent, percent < 10 ? 1 : 0)}%`;
}

/** What a private detail is. English has a name for each that is found, other languages one for each kind. */
export function detailName({ kind, label }: { kind: FindingKind; label: string }): string {
  const names: Readonly<Record<FindingKind, string>> = {
    account: t('account number'),
    address: t('postal address'),
    card: t('card number'),
    'date-of-birth': t('date of birth'),
    email: t('e-mail address'),
    iban: t('IBAN'),
    'id-number': t('personal number'),
    ip: t('IP address'),
    key: t('key'),
    name: t('name'),
    password: t('password'),
    phone: t('phone number'),
    phrase: t('private words'),
    url: t('private link'),
  };
  return language() === 'en' ? label : (names[kind] ?? label);
}

export const stateNames = (): Readonly<Record<JobState, string>> => ({
  queued: t('Waiting'),
  running: t('Learning'),
  waiting: t('Waiting for the device'),
  paused: t('Paused'),
  interrupted: t('Interrupted by the system'),
  done: t('Done'),
  failed: t('Failed'),
  cancelled: t('Stopped'),
});

export const stageNames = (): Readonly<Record<Stage | 'probe', string>> => ({
  hash: t('Checking the model file'),
  embed: t('Reading the examples'),
  ridge: t('First fit'),
  qlora: t('Learning from your examples'),
  measure: t('Measuring'),
  answers: t('Writing answers'),
  probe: t('Testing what it has memorised'),
});

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
      return t('{train} examples to learn from, {validation} held out; {tokens} tokens of answers', {
        train: event.train,
        validation: event.validation,
        tokens: event.tokens,
      });
    case 'problem':
      return event.problem.severity === 'error'
        ? t('line {line} left out: {reason}', { line: event.problem.line, reason: event.problem.reason })
        : t('line {line}: {reason}', { line: event.problem.line, reason: event.problem.reason });
    case 'warning':
      return event.message;
    case 'model':
      return t('the model has {layers} layers and {parameters} parameters', {
        layers: event.layers,
        parameters: event.parameters,
      });
    case 'stage':
      return language() === 'en' ? event.message : stageNames()[event.stage];
    case 'waiting':
      return event.reasons.length === 0 ? t('goes on') : t('waits: {reasons}', { reasons: event.reasons.join('; ') });
    case 'quote':
      return t('training {layers} layers takes at most {time} and {memory} of memory', {
        layers: event.layers,
        time: duration(event.seconds),
        memory: size(event.memoryBytes),
      });
    case 'resumed':
      return event.layer === undefined
        ? t('resumes from step {step}', { step: event.step })
        : t('resumes at layer {layer}', { layer: event.layer });
    case 'validation':
      return event.best
        ? t('step {step}: held-out loss {loss}, the best so far', { step: event.step, loss: shown(event.nll) })
        : t('step {step}: held-out loss {loss}', { step: event.step, loss: shown(event.nll) });
    case 'sweep':
      return t('pass {sweep}: held-out loss {loss}', { sweep: event.sweep, loss: shown(event.nll.validation) });
    case 'restart':
      return t('starts again from the first fit, which is ahead');
    case 'run':
      return t('run {run} of {runs}; the mean of all is kept', { run: event.run, runs: event.runs });
    case 'diverged':
      return t('the loss diverged at step {step}: back to step {back}, with smaller steps', {
        step: event.step,
        back: event.backTo,
      });
    case 'state':
      return (language() === 'en' && event.message) || stateNames()[event.state];
    case 'result':
      return t('loss {base} before, {adapted} after; took {time}', {
        base: shown(event.result.nll.base),
        adapted: shown(event.result.nll.adapted),
        time: duration(event.result.seconds),
      });
    default:
      return undefined;
  }
}

/** A loss that left all bounds is no number. */
function shown(nll: number | null): string {
  return typeof nll === 'number' ? number(nll, 3) : t('unknown');
}
