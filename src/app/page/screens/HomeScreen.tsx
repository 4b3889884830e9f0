import type { ComponentChildren } from 'preact';
import { isFinal } from '../../../serve/jobs/Job.js';
import { plural, t } from '../../logic/language.js';
import { href } from '../browser.js';
import { Icon, Page, Pending, Soil } from '../parts/layout.js';
import { ModelDownload, ModelFile, useOnline } from '../parts/models.js';
import { useList, useServer } from '../server.js';

/** Leads the newcomer step by step: a model, examples, a run, then a talk with the result. */
export function HomeScreen() {
  const { status, downloads, job } = useServer();
  const online = useOnline();
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
    <Page title={step === 4 ? t('Welcome back') : t('Grow your own model')}>
      <div class="hero">
        <Soil sprout={step > 2} />
        <p>
          {t(
            'Loam teaches a language model from your own examples: your words, your answers, your trade. Everything happens on this device.',
          )}
        </p>
      </div>
      <ol class="steps">
        <Step n={1} current={step} title={t('A model to start from')}>
          {step === 1 && first ? (
            <>
              <p>
                {first.licence ? `${first.title}, ${first.licence.name}` : first.title}.{' '}
                {t('This is the only step that uses the network, and nothing of yours is sent.')}
              </p>
              {!online && (
                <p class="note">
                  <Icon name="shield" />
                  <span>
                    {t(
                      'There is no network now, and Loam needs none but for this download. Your data, the screens and the settings work. Choose a model file that is on this device, or download later.',
                    )}
                  </span>
                </p>
              )}
              <ModelDownload model={first} download={downloads.get(first.name)} />
              <p class="quiet">
                {t('Without a network, or for another model: a GGUF file from this device.')}{' '}
                <a href={href('settings')}>{t('Which model suits this device?')}</a>
              </p>
              <ModelFile />
            </>
          ) : (
            <p class="quiet">{t('{title} is installed.', { title: present?.title ?? status?.model.name })}</p>
          )}
        </Step>
        <Step n={2} current={step} title={t('Your examples')}>
          {step === 2 && (
            <>
              <p>{t('Questions with the answers you would give. Thirty make a difference; a few hundred are good.')}</p>
              <a class="button primary" href={href('data', 'add')}>
                <Icon name="add" /> {t('Add examples')}
              </a>
            </>
          )}
          {step > 2 && (
            <p class="quiet">
              {t('{examples} in {sets}.', {
                examples: plural(examples, '{n} example', '{n} examples'),
                sets: plural(sets.data.length, '{n} data set', '{n} data sets'),
              })}{' '}
              <a href={href('data')}>{t('Look at them')}</a>
            </p>
          )}
        </Step>
        <Step n={3} current={step} title={t('Let it learn')}>
          {learning ? (
            <a class="button primary" href={href('jobs', job.id)}>
              <Icon name="progress" /> {t('Watch it learn')}
            </a>
          ) : step === 3 ? (
            <>
              <p>{t('It takes one button. You can stop at any time and keep the best so far.')}</p>
              <a class="button primary" href={href('tune')}>
                <Icon name="tune" /> {t('Tune')}
              </a>
            </>
          ) : (
            step > 3 && (
              <p class="quiet">
                {plural(adapters.data.length, '{n} adapter', '{n} adapters')}.{' '}
                <a href={href('tune')}>{t('Tune again')}</a>
              </p>
            )
          )}
        </Step>
        <Step n={4} current={step} title={t('Talk to it')}>
          {step === 4 && (
            <div class="row">
              <a class="button primary" href={href('chat')}>
                <Icon name="chat" /> {t('Chat')}
              </a>
              <a class="button" href={href('compare')}>
                <Icon name="compare" /> {t('Compare')}
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
          {state === 'past' && <span class="unseen">{`, ${t('done')}`}</span>}
        </h2>
        {children}
      </div>
    </li>
  );
}
