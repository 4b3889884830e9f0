import type { ComponentChildren } from 'preact';
import { isFinal } from '../../../serve/jobs/Job.js';
import { plural } from '../../logic/words.js';
import { href } from '../browser.js';
import { Icon, Page, Pending, Soil } from '../parts/layout.js';
import { ModelDownload } from '../parts/models.js';
import { useList, useServer } from '../server.js';

/** Leads the newcomer step by step: a model, examples, a run, then a talk with the result. */
export function HomeScreen() {
  const { status, downloads, job } = useServer();
  const models = useList('models');
  const sets = useList('datasets');
  const adapters = useList('adapters');
  if (!models.data || !sets.data || !adapters.data) {
    return (
      <Page title="Loam">
        <Pending of={[models, sets, adapters]} />
      </Page>
    );
  }
  const present = models.data.find((model) => model.installed);
  const first = models.data.find((model) => model.name === status?.model.name) ?? models.data[0];
  const learning = job && !isFinal(job.state);
  const step = !present ? 1 : sets.data.length === 0 ? 2 : adapters.data.length === 0 ? 3 : 4;
  const examples = sets.data.reduce((sum, set) => sum + set.examples - set.excluded, 0);

  return (
    <Page title={step === 4 ? 'Welcome back' : 'Grow your own model'}>
      <div class="hero">
        <Soil sprout={step > 2} />
        <p>
          Loam teaches a language model from your own examples: your words, your answers, your trade. Everything happens
          on this device.
        </p>
      </div>
      <ol class="steps">
        <Step n={1} current={step} title="A model to start from">
          {step === 1 && first ? (
            <>
              <p>
                {first.title}
                {first.licence ? `, ${first.licence.name}` : ''}. This is the only step that uses the network, and
                nothing of yours is sent.
              </p>
              <ModelDownload model={first} download={downloads[first.name]} />
            </>
          ) : (
            <p class="quiet">{present?.title ?? status?.model.name} is installed.</p>
          )}
        </Step>
        <Step n={2} current={step} title="Your examples">
          {step === 2 && (
            <>
              <p>Questions with the answers you would give. Thirty make a difference; a few hundred are good.</p>
              <a class="button primary" href={href('data', 'add')}>
                <Icon name="add" /> Add examples
              </a>
            </>
          )}
          {step > 2 && (
            <p class="quiet">
              {plural(examples, 'example')} in {plural(sets.data.length, 'data set')}.{' '}
              <a href={href('data')}>Look at them</a>
            </p>
          )}
        </Step>
        <Step n={3} current={step} title="Let it learn">
          {learning ? (
            <a class="button primary" href={href('jobs', job.id)}>
              <Icon name="progress" /> Watch it learn
            </a>
          ) : step === 3 ? (
            <>
              <p>It takes one button. You can stop at any time and keep the best so far.</p>
              <a class="button primary" href={href('tune')}>
                <Icon name="tune" /> Tune
              </a>
            </>
          ) : (
            step > 3 && (
              <p class="quiet">
                {plural(adapters.data.length, 'adapter')}. <a href={href('tune')}>Tune again</a>
              </p>
            )
          )}
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

interface StepProps {
  n: number;
  current: number;
  title: string;
  children: ComponentChildren;
}

function Step({ n, current, title, children }: StepProps) {
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
