import type { Job } from '../../serve/contract/jobs.js';
import { hasRidgeStart } from '../../train/ridgeStart.js';
import { t } from './language.js';

/** How far a run is over all its stages, as one bar, and how long the rest takes. */

type Stage = NonNullable<Job['stage']>;

interface Phase {
  name: string;
  stages: readonly Stage[];
  /** Its part of a usual run. */
  weight: number;
  /** What Pause and Stop keep while it is under way. */
  pause: string;
  stop: string;
}

/** What a run with these options consists of; of a model that only ridge can tune its stage tells. */
function phasesOf(options: Job['options'], stage: Stage | undefined): Phase[] {
  const both = hasRidgeStart(options);
  const trains = options.method !== 'ridge' && (both || stage !== 'ridge');
  const all: (Phase | false)[] = [
    {
      name: t('Preparing'),
      stages: ['hash', 'embed'],
      weight: 5,
      pause: t('Pause: this stage begins again when you resume; it is short.'),
      stop: t('Stop: nothing is learnt yet, so there is nothing to keep.'),
    },
    (both || !trains) && {
      name: t('First fit'),
      stages: ['ridge'],
      weight: both ? 20 : 75,
      pause: t('Pause: goes on later where it was a minute ago at most.'),
      stop: t('Stop: the first fit is given up.'),
    },
    trains && {
      name: t('Learning from your examples'),
      stages: ['qlora'],
      weight: both ? 55 : 75,
      pause: t('Pause: nothing is lost, it goes on later from here.'),
      stop: t('Stop: the best so far can be kept as a version, without being measured.'),
    },
    {
      name: t('Measuring'),
      stages: ['measure', 'answers'],
      weight: 10,
      pause: t('Pause: what was learnt is kept; measuring begins again when you resume.'),
      stop: t('Stop: what was learnt can be kept as a version, without being measured.'),
    },
    {
      name: t('Testing for private details'),
      stages: ['probe'],
      weight: 10,
      pause: t('Pause: the adapter is made and kept; the test goes on later.'),
      stop: t('Stop: the adapter is made and kept; the test goes on in the background.'),
    },
  ];
  return all.filter((phase) => phase !== false);
}

export interface Whereabouts extends Pick<Phase, 'name' | 'pause' | 'stop'> {
  /** Which of how many, from 1. */
  number: number;
  count: number;
  /** Of the stage and of all, 0 to 1. */
  share: number;
  whole: number;
  /** By what the time that is left of the stage is multiplied for all that is left. */
  restFactor: number;
  isLast: boolean;
}

export function whereIs({ stage, progress, options }: Pick<Job, 'stage' | 'progress' | 'options'>): Whereabouts {
  const phases = phasesOf(options, stage);
  const at = Math.max(
    0,
    phases.findIndex(({ stages }) => stage !== undefined && stages.includes(stage)),
  );
  const { name, pause, stop, weight } = phases[at]!;
  const share = progress && progress.total > 0 ? Math.min(1, progress.done / progress.total) : 0;
  const before = sum(phases.slice(0, at));
  const after = sum(phases.slice(at + 1));
  const left = weight * (1 - share);
  return {
    name,
    pause,
    stop,
    number: at + 1,
    count: phases.length,
    share,
    whole: (before + weight * share) / (before + weight + after),
    restFactor: left > 0 ? (left + after) / left : 1,
    isLast: at === phases.length - 1,
  };
}

function sum(phases: readonly Phase[]): number {
  return phases.reduce((all, { weight }) => all + weight, 0);
}

/** A look at a stage: which, how far, and when, in milliseconds. */
export interface Look {
  stage: string;
  share: number;
  at: number;
}

/** Seconds that a stage still takes at the pace since it was first looked at; undefined while that cannot be told. */
export function secondsLeft(first: Look, now: Look): number | undefined {
  const done = now.share - first.share;
  const seconds = (now.at - first.at) / 1000;
  if (first.stage !== now.stage || done <= 0 || seconds < 2) return undefined;
  return ((1 - now.share) * seconds) / done;
}

/** Seconds left in all. Never less than what a person calls a moment, while stages are to come that have not begun. */
export function secondsInAll(left: number, { restFactor, isLast }: Whereabouts): number {
  return isLast ? left : Math.max(15, left * restFactor);
}
