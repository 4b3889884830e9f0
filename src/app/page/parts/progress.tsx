import { useRef } from 'preact/hooks';
import type { Job } from '../../../serve/contract/jobs.js';
import { t } from '../../logic/language.js';
import { type Look, secondsInAll, secondsLeft, whereIs } from '../../logic/stages.js';
import { roughly } from '../../logic/words.js';
import { Bar } from './layout.js';

/** How far a run is over all its stages, how long the rest takes, and what stopping it keeps. */
export function RunProgress({ job }: { job: Job }) {
  const { state, stage, progress, etaSeconds } = job;
  const isRunning = state === 'running';
  const here = whereIs(job);
  const first = useRef<Look | undefined>(undefined);
  const now: Look = { stage: stage ?? '', share: here.share, at: Date.now() };
  if (!isRunning || first.current?.stage !== now.stage) first.current = now;
  // Of the steps of learning the server knows the pace, also before this page was opened; beforehand it has the price of the whole run.
  const ofSteps = stage === 'qlora' ? etaSeconds : undefined;
  const left = isRunning ? (ofSteps ?? secondsLeft(first.current!, now)) : undefined;
  const price = isRunning && here.number < 3 ? etaSeconds : undefined;
  return (
    <>
      <Bar share={!isRunning || progress || here.whole > 0 ? here.whole : undefined} label={t('Progress of the run')} />
      <p class="quiet">
        {t('Stage {number} of {count}: {name}', { number: here.number, count: here.count, name: here.name })}
        {left !== undefined && !here.isLast && `, ${t('{time} left in it', { time: roughly(left) })}`}
      </p>
      {left !== undefined && price === undefined ? (
        <p class="eta">{t('{time} left in all', { time: roughly(secondsInAll(left, here)) })}</p>
      ) : (
        price !== undefined && <p class="eta">{t('{time} in all, at most', { time: roughly(price) })}</p>
      )}
      <ul class="hint keeps">
        <li>{here.pause}</li>
        <li>{here.stop}</li>
      </ul>
    </>
  );
}
