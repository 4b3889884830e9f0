import { useEffect, useRef, useState } from 'preact/hooks';
import { count } from '../../../base/format.js';
import type { Job, JobEvent, JobState } from '../../../serve/contract/jobs.js';
import { isFinal } from '../../../serve/jobs/Job.js';
import {
  asChance,
  openRun,
  type RunView,
  roughly,
  size,
  stageNames,
  stateNames,
  withEvent,
} from '../../logic/words.js';
import { call, follow } from '../api.js';
import { announce, href, replace } from '../browser.js';
import { Check } from '../parts/controls.js';
import { Confirm } from '../parts/dialogs.js';
import { Bar, Entry, Fault, Icon, Page, Pending } from '../parts/layout.js';
import { bestLoss, Curve, ResultCard } from '../parts/run.js';
import { tellChanged, useAction, useAnswer } from '../server.js';

/** A run while it learns, and afterwards: how far it is, its curve, its log, its result. */
export function JobScreen({ id }: { id: string }) {
  const answer = useAnswer<Job>(`/api/jobs/${id}`, ['jobs']);
  const job = answer.data;
  const view = useRun(job);
  const told = useRef<JobState | undefined>(undefined);
  useEffect(() => {
    if (!view) return;
    const { name, state } = view.job;
    const before = told.current ?? state;
    told.current = state;
    if (state === before) return;
    announce(`${name}: ${stateNames[state]}`);
    tellChanged('jobs');
  }, [view?.job.state]);
  const { busy, error: failed, run } = useAction();
  const [dialog, setDialog] = useState<'stop' | 'delete' | 'restart'>();
  const [keep, setKeep] = useState(true);

  const send = async (verb: 'pause' | 'resume' | 'cancel', body = {}) => {
    await call('POST', `/api/jobs/${id}/${verb}`, { body });
    tellChanged('jobs');
  };

  if (!job || !view) {
    return (
      <Page title="Progress" back={href('tune')}>
        <Pending of={[answer]} />
      </Page>
    );
  }
  const { state, stage, etaSeconds, latest, progress, curve, result, adapter } = view.job;
  const best = bestLoss(curve);
  const over = isFinal(state);
  const halted = state === 'paused' || state === 'interrupted';
  const share = progress && progress.total > 0 ? progress.done / progress.total : undefined;
  const message = view.job.doing || view.job.message || '';
  const resume = (label: string, look = 'button') => (
    <button type="button" class={look} disabled={busy} onClick={() => void run(() => send('resume'))}>
      <Icon name="play" /> {label}
    </button>
  );
  return (
    <Page title={job.name} back={href('tune')} backLabel="Back to tuning">
      <section class="run-head">
        <p class="row">
          {state === 'running' && <span class="pulse running" />}
          <strong>{state === 'running' && stage ? stageNames[stage] : stateNames[state]}</strong>
        </p>
        {!over && <Bar share={state === 'running' ? share : (share ?? 0)} label="Progress of this stage" />}
        {message !== '' && <p class="quiet">{message}</p>}
        {state === 'running' && etaSeconds !== undefined && <p class="eta">{roughly(etaSeconds)} left</p>}
        {state === 'interrupted' && (
          <p>
            {message.startsWith('interrupted by the system') &&
              'The system ended this run, perhaps because memory ran out. '}
            Nothing is lost: it resumes from its last checkpoint.
          </p>
        )}
        {!over && (
          <div class="row">
            {halted ? (
              resume('Resume', 'button primary')
            ) : (
              <button
                type="button"
                class="button"
                disabled={busy || state === 'queued'}
                onClick={() => void run(() => send('pause'))}
              >
                <Icon name="pause" /> Pause
              </button>
            )}
            <button type="button" class="button" disabled={busy} onClick={() => setDialog('stop')}>
              <Icon name="stop" /> Stop
            </button>
          </div>
        )}
        <Fault error={failed} />
      </section>

      {state === 'failed' && <Fault error={new Error(message || 'The run failed.')} />}
      {result && <ResultCard adapter={adapter} result={result} />}
      {(curve.train.length > 0 || curve.validation.length > 0 || !over) && (
        <section class="sheet">
          <h2>Learning curve</h2>
          <Curve curve={curve} />
          <dl class="figures">
            {latest && (
              <Entry name="Step">
                {count(latest.step)} of {count(latest.steps)}
              </Entry>
            )}
            {best !== undefined && (
              <Entry name="Best held-out loss">
                {best.toFixed(3)} <small class="quiet">{asChance(best)} per token</small>
              </Entry>
            )}
            {latest && <Entry name="Speed">{count(Math.round(latest.tokensPerSecond))} tokens/s</Entry>}
            {latest && <Entry name="Memory">{size(latest.rssBytes)}</Entry>}
          </dl>
        </section>
      )}
      <RunLog log={view.log} />
      {over && state !== 'done' && resume('Try again')}
      {over && job.error?.code === 'confirm' && (
        <button type="button" class="button" disabled={busy} onClick={() => setDialog('restart')}>
          Start over
        </button>
      )}
      {over && (
        <button type="button" class="link danger" onClick={() => setDialog('delete')}>
          Remove this run from the list
        </button>
      )}
      {dialog === 'stop' && (
        <Confirm
          title="Stop learning"
          verb="Stop"
          onClose={() => setDialog(undefined)}
          onConfirm={() => send('cancel', { keep })}
        >
          <p>After that it can only start over. To continue later, choose Pause instead.</p>
          <Check checked={keep} onChange={setKeep} hint="As a version that is neither measured nor in use.">
            Keep the best so far
          </Check>
        </Confirm>
      )}
      {dialog === 'restart' && (
        <Confirm
          title="Start over"
          verb="Start over"
          danger
          onClose={() => setDialog(undefined)}
          onConfirm={async () => {
            await call('POST', `/api/jobs/${id}/resume?restart=true`, { body: {} });
            tellChanged('jobs');
          }}
        >
          <p>What this run has learnt so far is given up, and it begins again with things as they are now.</p>
        </Confirm>
      )}
      {dialog === 'delete' && (
        <Confirm
          title="Remove the run"
          verb="Remove"
          danger
          onClose={() => setDialog(undefined)}
          onConfirm={async () => {
            await call('DELETE', `/api/jobs/${id}`);
            replace('tune');
            tellChanged('jobs');
          }}
        >
          <p>Its log and curve are deleted. The adapter it made stays.</p>
        </Confirm>
      )}
    </Page>
  );
}

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
    let frame = 0;
    const draw = () => {
      frame = 0;
      setView(state);
    };
    const stop = follow(`/api/jobs/${job.id}/events`, {
      onEvent(eventId, data) {
        state = withEvent(state, eventId, data as JobEvent);
        frame ||= requestAnimationFrame(draw);
      },
      isOver: () => isFinal(state.job.state),
    });
    return () => {
      stop();
      cancelAnimationFrame(frame);
    };
  }, [id, round]);
  return view;
}

function RunLog({ log }: { log: RunView['log'] }) {
  const end = useRef<HTMLDivElement>(null);
  // Follows the newest line, unless the person has scrolled away from it.
  useEffect(() => {
    const list = end.current;
    if (list && list.scrollHeight - list.scrollTop - list.clientHeight < 80) list.scrollTop = list.scrollHeight;
  }, [log]);
  return (
    <details class="fold">
      <summary>Log</summary>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard. */}
      <div ref={end} class="log" role="log" aria-label="Log of the run" aria-live="off" tabIndex={0}>
        {log.map((line, i) => (
          <p key={i}>{line}</p>
        ))}
      </div>
    </details>
  );
}
