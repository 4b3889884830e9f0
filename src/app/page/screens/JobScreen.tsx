import { useEffect, useRef, useState } from 'preact/hooks';
import type { ApiFault } from '../../../serve/contract/errors.js';
import type { Job, JobEvent, JobState } from '../../../serve/contract/jobs.js';
import { isFinal } from '../../../serve/jobs/Job.js';
import { number, rich, t } from '../../logic/language.js';
import { sayState } from '../../logic/said.js';
import { titleOf } from '../../logic/speakers.js';
import { whereIs } from '../../logic/stages.js';
import { asChance, openRun, type RunView, size, stageNames, stateNames, withEvent } from '../../logic/words.js';
import { ApiError, call, follow } from '../api.js';
import { announce, href, replace } from '../browser.js';
import { Check } from '../parts/controls.js';
import { Confirm } from '../parts/dialogs.js';
import { Detail, Entry, Fault, Icon, Page, Pending } from '../parts/layout.js';
import { RunProgress } from '../parts/progress.js';
import { ResultCard } from '../parts/result.js';
import { KeepScreenOn, TellMe } from '../parts/rules.js';
import { bestLoss, Curve } from '../parts/run.js';
import { deleteLater } from '../parts/undo.js';
import { tellChanged, useAction, useAnswer, useList } from '../server.js';

/** A run while it learns, and afterwards: how far it is, its curve, its log, its result. */
export function JobScreen({ id }: { id: string }) {
  const answer = useAnswer<Job>(`/api/jobs/${id}`, ['jobs']);
  const models = useList('models');
  const job = answer.data;
  const view = useRun(job);
  const told = useRef<JobState | undefined>(undefined);
  useEffect(() => {
    if (!view) return;
    const { name, state } = view.job;
    const before = told.current ?? state;
    told.current = state;
    if (state === before) return;
    announce(`${name}: ${stateNames()[state]}`);
    tellChanged('jobs');
  }, [view?.job.state]);
  const { busy, error: failed, run } = useAction();
  const [dialog, setDialog] = useState<'stop' | 'delete' | 'restart'>();
  const [keep, setKeep] = useState(true);

  const send = async (verb: 'pause' | 'resume' | 'resume?now=true' | 'cancel', body = {}) => {
    await call('POST', `/api/jobs/${id}/${verb}`, { body });
    tellChanged('jobs');
  };

  if (!job || !view) {
    return (
      <Page title={t('Progress')} back={href('tune')}>
        <Pending of={[answer]} />
      </Page>
    );
  }
  const { state, stage, latest, curve, result, adapter } = view.job;
  const best = bestLoss(curve);
  const over = isFinal(state);
  const halted = state === 'paused' || state === 'interrupted';
  const { error } = view.job;
  const said = sayState(view.job);
  const resume = (label: string, look = 'button') => (
    <button type="button" class={look} disabled={busy} onClick={() => void run(() => send('resume'))}>
      <Icon name="play" /> {label}
    </button>
  );
  return (
    <Page
      title={job.name}
      tab={state === 'running' ? `${Math.floor(100 * whereIs(view.job).whole)}% ${job.name}` : undefined}
      back={href('tune')}
      backLabel={t('Back to tuning')}
    >
      <section class="run-head">
        <p class="row">
          {state === 'running' && <span class="pulse running" />}
          <strong>{state === 'running' && stage ? stageNames()[stage] : stateNames()[state]}</strong>
        </p>
        <p class="quiet clamp">
          {t('{model} learns from {data}', { model: titleOf(job.model, models.data ?? []), data: job.datasetName })}
        </p>
        {!over && <RunProgress job={view.job} />}
        {said && state !== 'failed' && (
          <div class="quiet">
            <p>{said.text}</p>
            <Detail text={said.detail} />
          </div>
        )}
        {state === 'interrupted' && <p>{t('Nothing is lost: it resumes from its last checkpoint.')}</p>}
        {state === 'running' && <KeepScreenOn />}
        {!over && <TellMe />}
        {!over && (
          <div class="row">
            {state === 'waiting' && (
              <button
                type="button"
                class="button primary"
                disabled={busy}
                onClick={() => void run(() => send('resume?now=true'))}
              >
                <Icon name="play" /> {t('Run now')}
              </button>
            )}
            {halted ? (
              resume(t('Resume'), 'button primary')
            ) : (
              <button
                type="button"
                class="button"
                disabled={busy || state === 'queued'}
                onClick={() => void run(() => send('pause'))}
              >
                <Icon name="pause" /> {t('Pause')}
              </button>
            )}
            <button type="button" class="button" disabled={busy} onClick={() => setDialog('stop')}>
              <Icon name="stop" /> {t('Stop')}
            </button>
          </div>
        )}
        <Fault error={failed} />
      </section>

      {state === 'failed' && (
        <Fault error={error ? new ApiError(0, error as ApiFault) : new Error(t('The run failed.'))} />
      )}
      {result && <ResultCard job={view.job} result={result} />}
      {!result && adapter && (
        <p class="note good">
          <Icon name="check" />
          <span>
            {rich('The best so far was kept, not measured: {link}.', {
              link: <a href={href('adapters', adapter.id)}>{t('look at it')}</a>,
            })}
          </span>
        </p>
      )}
      {(curve.train.length > 0 || curve.validation.length > 0 || !over) && (
        <section class="sheet">
          <h2>{t('Learning curve')}</h2>
          <Curve curve={curve} />
          <dl class="figures">
            {latest && (
              <Entry name={t('Step')}>{t('{step} of {steps}', { step: latest.step, steps: latest.steps })}</Entry>
            )}
            {best !== undefined && (
              <Entry name={t('Best held-out loss')}>
                {number(best, 3)} <small class="quiet">{t('{chance} per token', { chance: asChance(best) })}</small>
              </Entry>
            )}
            {latest && <Entry name={t('Speed')}>{t('{n} tokens/s', { n: Math.round(latest.tokensPerSecond) })}</Entry>}
            {latest && <Entry name={t('Memory')}>{size(latest.rssBytes)}</Entry>}
          </dl>
        </section>
      )}
      <RunLog log={view.log} />
      {over && state !== 'done' && resume(t('Try again'))}
      {over && job.error?.code === 'confirm' && (
        <button type="button" class="button" disabled={busy} onClick={() => setDialog('restart')}>
          {t('Start over')}
        </button>
      )}
      {over && (
        <button type="button" class="link danger" onClick={() => setDialog('delete')}>
          {t('Remove this run from the list')}
        </button>
      )}
      {dialog === 'stop' && (
        <Confirm
          title={t('Stop learning')}
          verb={t('Stop')}
          onClose={() => setDialog(undefined)}
          onConfirm={() => send('cancel', { keep })}
        >
          <p>{t('After that it can only start over. To continue later, choose Pause instead.')}</p>
          <Check checked={keep} onChange={setKeep} hint={t('As a version that is neither measured nor in use.')}>
            {t('Keep the best so far')}
          </Check>
        </Confirm>
      )}
      {dialog === 'restart' && (
        <Confirm
          title={t('Start over')}
          verb={t('Start over')}
          danger
          onClose={() => setDialog(undefined)}
          onConfirm={async () => {
            await call('POST', `/api/jobs/${id}/resume?restart=true`, { body: {} });
            tellChanged('jobs');
          }}
        >
          <p>{t('What this run has learnt so far is given up, and it begins again with things as they are now.')}</p>
        </Confirm>
      )}
      {dialog === 'delete' && (
        <Confirm
          title={t('Remove the run')}
          verb={t('Remove')}
          danger
          onClose={() => setDialog(undefined)}
          onConfirm={async () => {
            replace('tune');
            deleteLater(t('The run {name} is removed', { name: job.name }), { ids: [id], path: `/api/jobs/${id}` });
          }}
        >
          <p>{t('Its log and curve are deleted. The adapter it made stays.')}</p>
        </Confirm>
      )}
    </Page>
  );
}

/** Milliseconds between two drawings: what is computed for the screen is missing where the model learns. */
const DRAW = 200;

/** A job and its events, followed from the first on; a batch of them is drawn at once. */
function useRun(job: Job | undefined): RunView | undefined {
  const [view, setView] = useState<RunView>();
  const id = job?.id;
  const over = isFinal(job?.state);
  // One that is resumed after its end is followed from the start.
  const [round, setRound] = useState(0);
  const wasOver = useRef(over);
  useEffect(() => {
    if (wasOver.current && !over) setRound(round + 1);
    wasOver.current = over;
  }, [over]);
  useEffect(() => {
    if (!job) return;
    let state = openRun(job);
    setView(state);
    let timer = 0;
    const draw = () => {
      timer = 0;
      setView(state);
    };
    const stop = follow(`/api/jobs/${job.id}/events`, {
      onEvent(eventId, data) {
        state = withEvent(state, eventId, data as JobEvent);
        timer ||= window.setTimeout(draw, DRAW);
      },
      isOver: () => isFinal(state.job.state),
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [id, round]);
  return view;
}

/** Its lines are in the page only while it is open: to lay them out takes time that the model could learn in. */
function RunLog({ log }: { log: RunView['log'] }) {
  const [open, setOpen] = useState(false);
  const list = useRef<HTMLDivElement>(null);
  // Follows the newest line, unless the person has scrolled away from it.
  const follows = useRef(true);
  useEffect(() => {
    if (open && follows.current) list.current!.scrollTop = list.current!.scrollHeight;
  }, [log, open]);
  return (
    <details class="fold" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{t('Log')}</summary>
      <div
        ref={list}
        class="log"
        role="log"
        aria-label={t('Log of the run')}
        aria-live="off"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard.
        tabIndex={0}
        onScroll={({ currentTarget: { scrollHeight, scrollTop, clientHeight } }) => {
          follows.current = scrollHeight - scrollTop - clientHeight < 80;
        }}
      >
        {open && log.map((line, i) => <p key={i}>{line}</p>)}
      </div>
    </details>
  );
}
