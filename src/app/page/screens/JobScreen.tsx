import { useEffect, useRef, useState } from 'preact/hooks';
import { count } from '../../../base/format.js';
import type { Job, JobEvent, JobState } from '../../../serve/contract/jobs.js';
import { asChance, emptyRun, type RunView, stageNames, stateNames, withEvent } from '../../logic/runView.js';
import { call, roughly, size } from '../api.js';
import { announce, href, replace } from '../browser.js';
import { tellChanged, useResource } from '../live.js';
import { Confirm } from '../parts/dialogs.js';
import { Bar, Fault, Icon, Loading, Page } from '../parts/layout.js';
import { Curve, ResultCard } from '../parts/run.js';
import { follow } from '../stream.js';

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
        {log.map(({ text }, i) => (
          <p key={i}>{text}</p>
        ))}
      </div>
    </details>
  );
}

const isOver = (state: JobState | undefined) => state === 'done' || state === 'failed' || state === 'cancelled';

/** Events of a job, followed from the first on; a batch of them is drawn at once. */
function useRun(job: Job | undefined): RunView | undefined {
  const [view, setView] = useState<RunView>();
  const id = job?.id;
  const over = isOver(job?.state);
  // One that is taken up again after its end is followed anew.
  const [round, setRound] = useState(0);
  const wasOver = useRef(over);
  useEffect(() => {
    if (wasOver.current && !over) setRound(round + 1);
    wasOver.current = over;
  }, [over]);
  useEffect(() => {
    if (!job) return;
    let state = emptyRun(job);
    setView(state);
    let frame = 0;
    const draw = () => {
      frame = 0;
      setView(state);
    };
    const stop = follow(`/api/jobs/${job.id}/events`, {
      onEvent(eventId, data) {
        const event = data as JobEvent | { type: 'reset' };
        if (event.type === 'reset') return;
        state = withEvent(state, eventId, event, Date.now());
        frame ||= requestAnimationFrame(draw);
      },
      isOver: () => isOver(state.state),
      onReset() {
        state = emptyRun(job);
        frame ||= requestAnimationFrame(draw);
      },
    });
    return () => {
      stop();
      cancelAnimationFrame(frame);
    };
  }, [id, round]);
  return view;
}

export function JobScreen({ id }: { id: string }) {
  const {
    data: job,
    error,
    reload,
  } = useResource((signal) => call<Job>('GET', `/api/jobs/${id}`, { signal }), ['jobs'], [id]);
  const view = useRun(job);
  // What is told is what is drawn: of the events that come at once when a page is opened, only where they end.
  const told = useRef<JobState | undefined>(undefined);
  useEffect(() => {
    if (!job || !view || view.lastId === 0) return;
    const before = told.current ?? job.state;
    told.current = view.state;
    if (view.state === before) return;
    announce(`${job.name}: ${stateNames[view.state]}`);
    tellChanged('jobs');
  }, [view?.state, view?.lastId === 0]);
  const [failed, setFailed] = useState<Error>();
  const [busy, setBusy] = useState(false);
  const [dialog, setDialog] = useState<'stop' | 'delete'>();
  const [keep, setKeep] = useState(true);

  const act = async (verb: 'pause' | 'resume' | 'cancel', body: { keep?: boolean } = {}) => {
    setBusy(true);
    setFailed(undefined);
    try {
      await call('POST', `/api/jobs/${id}/${verb}`, { body });
      tellChanged('jobs');
    } catch (caught) {
      setFailed(caught as Error);
      throw caught;
    } finally {
      setBusy(false);
    }
  };

  if (!job || !view) {
    return (
      <Page title="Progress" back={href('tune')}>
        <Fault error={error} onRetry={() => void reload()} />
        {!error && <Loading />}
      </Page>
    );
  }
  // The job's own answer is newer than the events where those have not come yet.
  const state = view.lastId === 0 ? job.state : view.state;
  const over = isOver(state);
  const result = job.result ?? view.result;
  const share = shareOf(view);
  const message = view.message || job.message || '';
  return (
    <Page title={job.name} back={href('tune')} backLabel="Back to tuning">
      <section class={`run-head state-${state}`}>
        <p class="run-state">
          {state === 'running' && <span class="pulse running" />}
          <strong>{state === 'running' && view.stage ? stageNames[view.stage] : stateNames[state]}</strong>
        </p>
        {!over && <Bar share={state === 'running' ? share : (share ?? 0)} label="Progress of this stage" />}
        {message !== '' && <p class="quiet">{message}</p>}
        {state === 'running' && view.etaSeconds !== undefined && <p class="eta">{roughly(view.etaSeconds)} to go</p>}
        {state === 'interrupted' && (
          <p>
            The system ended the run, perhaps for want of memory. Nothing is lost: it goes on from its last checkpoint.
          </p>
        )}
        {!over && (
          <div class="row">
            {state === 'paused' || state === 'interrupted' ? (
              <button
                type="button"
                class="button primary"
                disabled={busy}
                onClick={() => void act('resume').catch(() => {})}
              >
                <Icon name="play" /> Go on
              </button>
            ) : (
              <button
                type="button"
                class="button"
                disabled={busy || state === 'queued'}
                onClick={() => void act('pause').catch(() => {})}
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
      {result && <ResultCard adapter={view.adapter ?? job.adapter} result={result} />}
      {(view.train.length > 0 || view.validation.length > 0 || !over) && (
        <section class="sheet">
          <h2>How it learns</h2>
          <Curve train={view.train} validation={view.validation} steps={view.steps} />
          {(view.latest || view.best !== undefined) && (
            <dl class="figures">
              {view.latest && (
                <div>
                  <dt>Step</dt>
                  <dd>
                    {count(view.latest.step)} of {count(view.latest.steps)}
                  </dd>
                </div>
              )}
              {view.best !== undefined && (
                <div>
                  <dt>Best loss kept aside</dt>
                  <dd>
                    {view.best.toFixed(3)} <small class="quiet">{asChance(view.best)} a token</small>
                  </dd>
                </div>
              )}
              {view.latest && (
                <div>
                  <dt>Speed</dt>
                  <dd>{count(Math.round(view.latest.tokensPerSecond))} tokens/s</dd>
                </div>
              )}
              {view.latest && (
                <div>
                  <dt>Memory</dt>
                  <dd>{size(view.latest.rssBytes)}</dd>
                </div>
              )}
            </dl>
          )}
        </section>
      )}
      <RunLog log={view.log} />
      {(state === 'failed' || state === 'cancelled') && (
        <button type="button" class="button" disabled={busy} onClick={() => void act('resume').catch(() => {})}>
          <Icon name="play" /> Try again
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
          onConfirm={() => act('cancel', { keep })}
        >
          <p>It cannot go on after that. To go on later, choose Pause instead.</p>
          <label class="check">
            <input type="checkbox" checked={keep} onChange={(event) => setKeep(event.currentTarget.checked)} />
            <span>
              Keep the best so far
              <span class="hint">As a version that is not measured and not in use.</span>
            </span>
          </label>
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
          <p>Its log and its curve go. The adapter that it made stays.</p>
        </Confirm>
      )}
    </Page>
  );
}

function shareOf({ progress }: RunView): number | undefined {
  return progress && progress.total > 0 ? progress.done / progress.total : undefined;
}
