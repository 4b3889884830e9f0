import { useState } from 'preact/hooks';
import type { Adapter } from '../../../serve/contract/adapters.js';
import type { DatasetInfo } from '../../../serve/contract/datasets.js';
import type { Job } from '../../../serve/contract/jobs.js';
import type { Download, ModelEntry } from '../../../serve/contract/models.js';
import { stateNames } from '../../logic/runView.js';
import { call, plural, size, when } from '../api.js';
import { href } from '../browser.js';
import { useResource } from '../live.js';
import { useServer } from '../main.js';
import { Bar, Fault, Icon, Loading, Page, Soil } from '../parts/layout.js';

/** The button that fetches a model, and how far that is. The one thing in Loam that uses the network, so it says so. */
export function ModelDownload({ model, download }: { model: ModelEntry; download?: Download }) {
  const [error, setError] = useState<Error>();
  const [asked, setAsked] = useState(false);
  const at = download ?? model.download;
  const running = at?.state === 'running' || (asked && !at);
  const total = at?.total ?? model.size;
  const fetchIt = async () => {
    setError(undefined);
    setAsked(true);
    try {
      await call('POST', `/api/models/${encodeURIComponent(model.name)}/fetch`, { body: {} });
    } catch (caught) {
      setError(caught as Error);
      setAsked(false);
    }
  };
  const stopIt = async () => {
    setAsked(false);
    try {
      await call('POST', `/api/models/${encodeURIComponent(model.name)}/stop`, { body: {} });
    } catch (caught) {
      setError(caught as Error);
    }
  };
  if (running) {
    const share = at && total > 0 && at.done > 0 ? at.done / total : undefined;
    return (
      <div class="download">
        <Bar share={share} label={`Fetching ${model.title}`} />
        <p class="quiet">
          {at ? `${size(at.done)} of ${size(total)}` : 'Asking for it…'}
          {at?.message && <span class="hint">{at.message}</span>}
        </p>
        <button type="button" class="button small" onClick={() => void stopIt()}>
          Stop
        </button>
      </div>
    );
  }
  return (
    <div class="download">
      {at?.state === 'failed' && <Fault error={new Error(at.message ?? 'The download failed.')} />}
      <Fault error={error} />
      <button type="button" class="button primary" onClick={() => void fetchIt()}>
        <Icon name="import" /> {at?.state === 'stopped' || at?.state === 'failed' ? 'Go on' : 'Fetch it'} (
        {size(model.size)})
      </button>
    </div>
  );
}

/** Leads by the hand: a model, examples, a run, and then a talk with the result. */
export function HomeScreen() {
  const { status, downloads, job } = useServer();
  const models = useResource((signal) => call<{ models: ModelEntry[] }>('GET', '/api/models', { signal }), ['models']);
  const sets = useResource(
    (signal) => call<{ datasets: DatasetInfo[] }>('GET', '/api/datasets', { signal }),
    ['datasets'],
  );
  const adapters = useResource(
    (signal) => call<{ adapters: Adapter[] }>('GET', '/api/adapters', { signal }),
    ['adapters'],
  );
  const error = models.error ?? sets.error ?? adapters.error;
  if (!models.data || !sets.data || !adapters.data) {
    return (
      <Page title="Loam">
        <Fault error={error} />
        {!error && <Loading />}
      </Page>
    );
  }
  const present = models.data.models.some((model) => model.installed);
  const first = models.data.models.find((model) => model.name === status?.model.name) ?? models.data.models[0];
  const datasets = sets.data.datasets;
  const made = adapters.data.adapters;
  const learning = job && ['running', 'paused', 'interrupted', 'queued'].includes(job.state);
  const step = !present ? 1 : datasets.length === 0 ? 2 : made.length === 0 ? 3 : 4;
  const examples = datasets.reduce((sum, set) => sum + set.examples - (set.excluded ?? 0), 0);

  return (
    <Page title={step === 4 ? 'Welcome back' : 'Grow your own model'}>
      <div class="hero">
        <Soil sprout={step > 2} />
        <p>
          Loam teaches a language model from your own examples: your words, your answers, your trade. It works on this
          device alone.
        </p>
      </div>
      <ol class="steps">
        <Step n={1} current={step} title="A model to begin with">
          {step === 1 && first ? (
            <>
              <p>
                {first.title}
                {first.licence ? `, ${first.licence.name}` : ''}. This is the only step that uses the network, and it
                sends nothing of yours.
              </p>
              <ModelDownload model={first} download={downloads[first.name]} />
            </>
          ) : (
            <p class="quiet">
              {models.data.models.find((model) => model.installed)?.title ?? status?.model.name} is here.
            </p>
          )}
        </Step>
        <Step n={2} current={step} title="Your examples">
          {step === 2 ? (
            <>
              <p>Questions with the answers you would give. Thirty make a difference; a few hundred are good.</p>
              <a class="button primary" href={href('data', 'add')}>
                <Icon name="add" /> Add examples
              </a>
            </>
          ) : step > 2 ? (
            <p class="quiet">
              {plural(examples, 'example')} in {plural(datasets.length, 'set')}. <a href={href('data')}>Look at them</a>
            </p>
          ) : null}
        </Step>
        <Step n={3} current={step} title="Let it learn">
          {learning ? (
            <a class="button primary" href={href('jobs', job.id)}>
              <Icon name="progress" /> See how it learns
            </a>
          ) : step === 3 ? (
            <>
              <p>One button. You can stop at any time and keep the best so far.</p>
              <a class="button primary" href={href('tune')}>
                <Icon name="tune" /> Tune
              </a>
            </>
          ) : step > 3 ? (
            <p class="quiet">
              {plural(made.length, 'adapter')}. <a href={href('tune')}>Tune again</a>
            </p>
          ) : null}
        </Step>
        <Step n={4} current={step} title="Talk to it">
          {step === 4 && (
            <div class="row">
              <a class="button primary" href={href('chat')}>
                <Icon name="chat" /> Chat
              </a>
              <a class="button" href={href('compare')}>
                <Icon name="compare" /> Compare
              </a>
            </div>
          )}
        </Step>
      </ol>
    </Page>
  );
}

function Step({
  n,
  current,
  title,
  children,
}: {
  n: number;
  current: number;
  title: string;
  children: preact.ComponentChildren;
}) {
  const state = n < current ? 'past' : n === current ? 'now' : 'later';
  return (
    <li class={`step ${state}`} aria-current={state === 'now' ? 'step' : undefined}>
      <span class="step-mark">{state === 'past' ? <Icon name="check" size={18} /> : n}</span>
      <div class="step-body">
        <h2>
          {title}
          {state === 'past' && <span class="unseen">, done</span>}
        </h2>
        {children}
      </div>
    </li>
  );
}

/** The queue and what was tuned before, newest first. */
export function RunList({ jobs }: { jobs: Job[] }) {
  if (jobs.length === 0) return null;
  return (
    <section>
      <h2>Runs</h2>
      <ul class="cards">
        {jobs.map((job) => (
          <li key={job.id}>
            <a class="card" href={href('jobs', job.id)}>
              <span class="card-title">{job.name}</span>
              <span class="quiet">
                {when(job.createdAt)}
                {job.result && ` · loss ${job.result.nll.base.toFixed(2)} → ${job.result.nll.adapted.toFixed(2)}`}
              </span>
              <span class="chips">
                <span class={`chip state-${job.state}`}>{stateNames[job.state]}</span>
              </span>
              <Icon name="next" />
            </a>
          </li>
        ))}
      </ul>
    </section>
  );
}
