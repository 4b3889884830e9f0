import { useMemo } from 'preact/hooks';
import type { Adapter } from '../../../serve/contract/adapters.js';
import type { DatasetInfo } from '../../../serve/contract/datasets.js';
import type { Job, OptionDeclaration } from '../../../serve/contract/jobs.js';
import type { ModelEntry } from '../../../serve/contract/models.js';
import { formFields, readForm } from '../../logic/formFields.js';
import { number, plural, t } from '../../logic/language.js';
import { belongsTo } from '../../logic/speakers.js';
import { stateNames, when } from '../../logic/words.js';
import { call } from '../api.js';
import { go, href, replace } from '../browser.js';
import { useDraft } from '../drafts.js';
import { Check, OptionField, Select, TextField } from '../parts/controls.js';
import { LayersField } from '../parts/layers.js';
import { Card, Empty, Fault, Icon, Page, Pending } from '../parts/layout.js';
import { ModelDownload } from '../parts/models.js';
import { QuoteCard, useQuote } from '../parts/run.js';
import { type TuneChoice, unchosen } from '../parts/tuneChoice.js';
import { tellChanged, useAction, useAnswer, useList, useServer } from '../server.js';

/** What is to be learnt, by which model, and how; and the runs so far. */
export function TuneScreen({ dataset }: { dataset?: string }) {
  const { downloads, status } = useServer();
  const sets = useList('datasets');
  const models = useList('models');
  const options = useAnswer<{ options: OptionDeclaration[] }>('/api/options');
  const adapters = useList('adapters');
  const jobs = useList('jobs');
  // The adapters too: without them a run that goes on with one would begin another.
  if (!sets.data || !models.data || !options.data || !adapters.data) {
    return (
      <Page title={t('Tune')}>
        <Pending of={[sets, models, options, adapters]} />
      </Page>
    );
  }
  const present = models.data.filter((model) => model.installed);
  const first = models.data.find(({ name }) => name === status?.model.name) ?? models.data[0];
  if (present.length === 0 && first) {
    return (
      <Page title={t('Tune')}>
        <Empty title={t('First, a model')}>
          <p>
            {t(
              'Learning starts from a model that can already write. Downloading it is the only thing that uses the network.',
            )}
          </p>
          <ModelDownload model={first} download={downloads.get(first.name)} />
        </Empty>
      </Page>
    );
  }
  if (sets.data.length === 0) {
    return (
      <Page title={t('Tune')}>
        <Empty title={t('First, some examples')} sprout>
          <p>{t('There is nothing to learn from yet.')}</p>
          <a class="button primary" href={href('data', 'add')}>
            <Icon name="add" /> {t('Add examples')}
          </a>
        </Empty>
      </Page>
    );
  }
  return (
    <Page title={t('Tune')}>
      <TuneForm
        sets={sets.data}
        models={present}
        adapters={adapters.data}
        declared={options.data.options}
        chosen={dataset}
      />
      {jobs.data && jobs.data.length > 0 && <RunList jobs={jobs.data} />}
    </Page>
  );
}

interface TuneFormProps {
  sets: DatasetInfo[];
  models: ModelEntry[];
  adapters: Adapter[];
  declared: readonly OptionDeclaration[];
  /** Id of the data set that is selected at first. */
  chosen?: string;
}

function TuneForm({ sets, models, adapters, declared, chosen }: TuneFormProps) {
  const { status } = useServer();
  const [choice, choose] = useDraft<TuneChoice>('tune', unchosen);
  const { goOn, name, typed } = choice;
  const dataset = chosen ?? choice.dataset;
  const usual = models.find((one) => one.name === status?.model.name)?.name ?? models[0]!.name;
  const model = models.find((one) => one.name === choice.model)?.name ?? usual;
  const setTyped = (next: TuneChoice['typed']) => choose({ ...choice, typed: next });
  const { busy, error, run } = useAction();
  const fields = useMemo(() => formFields(declared), [declared]);
  const { options, faults } = readForm([...fields.main, ...fields.more], typed);
  const faulty = [...fields.main, ...fields.more].filter((field) => field.name in faults).map(({ label }) => label);
  const newest = sets.reduce((a, b) => (b.createdAt > a.createdAt ? b : a));
  const set = sets.find(({ id }) => id === dataset) ?? newest;
  const base = models.find((one) => one.name === model);
  const fitting = adapters.filter((one) => base && belongsTo(one, base));
  const kept = fitting.find(({ id }) => id === choice.adapter);
  // The server keeps one adapter of a name.
  const same = adapters.find((one) => one.name === (name.trim() || set.name));
  const others = sets.filter((one) => one.id !== set.id);
  const also = others.filter(({ id }) => choice.also?.includes(id));
  const learnt = [set, ...also];
  const usable = learnt.reduce((sum, one) => sum + one.examples - one.excluded, 0);
  const ready = faulty.length === 0 && usable > 0;
  const quoted = useQuote({ datasets: learnt, model, options, paused: !ready });

  const start = () =>
    run(async () => {
      const body = {
        dataset: set.id,
        ...(also.length > 0 && { also: also.map(({ id }) => id) }),
        model,
        name: kept?.name ?? (name.trim() || set.name),
        ...(kept?.active && goOn && { start: kept.active }),
        options,
      };
      const job = await call<Job>('POST', '/api/jobs', { body });
      choose(unchosen);
      tellChanged('jobs');
      go('jobs', job.id);
    });
  const optionFields = (list: typeof fields.main) => (
    <div class="options">
      {list.map((field) => {
        const { name: option } = field;
        const shared = { field, onChange: (value: string | boolean) => setTyped({ ...typed, [option]: value }) };
        return option === 'layers' ? (
          <LayersField key={option} {...shared} value={String(typed[option] ?? '')} quoted={quoted} />
        ) : (
          <OptionField key={option} {...shared} value={typed[option]} fault={faults[option]} />
        );
      })}
    </div>
  );
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        if (ready) void start();
      }}
    >
      <div class="pair">
        <Select
          label={t('Learn from')}
          hint={plural(usable, '{n} example', '{n} examples')}
          value={set.id}
          onChange={(id) => {
            choose({ ...choice, dataset: id });
            // The address names another one.
            if (chosen !== undefined) replace('tune', id);
          }}
          options={sets.map((one) => ({ value: one.id, label: one.name }))}
        />
        <Select
          label={t('Start from')}
          value={model}
          onChange={(next) => choose({ ...choice, model: next })}
          options={models.map((one) => ({ value: one.name, label: one.title }))}
        />
      </div>
      {others.length > 0 && (
        <details class="fold" open={also.length > 0}>
          <summary>{t('Learn from other data sets as well')}</summary>
          <div class="stack">
            {others.map(({ id, name: title, examples, excluded }) => (
              <Check
                key={id}
                checked={also.some((one) => one.id === id)}
                hint={plural(examples - excluded, '{n} example', '{n} examples')}
                onChange={(on) => {
                  const kept = also.map((one) => one.id).filter((one) => one !== id);
                  choose({ ...choice, also: on ? [...kept, id] : kept });
                }}
              >
                {title}
              </Check>
            ))}
          </div>
        </details>
      )}
      <QuoteCard quoted={quoted} onLayers={(layers) => setTyped({ ...typed, layers: `top:${layers}` })} />
      <Fault error={error} />
      <div class="press">
        <button type="submit" class="button primary big" disabled={busy || !ready}>
          <Icon name="tune" /> {busy ? t('Starting…') : t('Tune')}
        </button>
      </div>
      <details class="fold">
        <summary>{t('More options')}</summary>
        <div class="stack">
          <p class="quiet">{t('Everything has a good default. What you leave empty is chosen for you.')}</p>
          {fitting.length > 0 && (
            <Select
              label={t('Save as')}
              value={kept?.id ?? ''}
              onChange={(id) => choose({ ...choice, adapter: id })}
              options={[
                { value: '', label: t('a new adapter') },
                ...fitting.map((one) => ({
                  value: one.id,
                  label: t('the next version of {name}', { name: one.name }),
                })),
              ]}
            />
          )}
          {kept?.active && (
            <Check
              checked={goOn}
              onChange={(on) => choose({ ...choice, goOn: on })}
              hint={t('What it has learnt is kept; otherwise learning starts from the base model.')}
            >
              {t('Continue from the version in use')}
            </Check>
          )}
          {!kept && (
            <TextField
              label={t('Name of the adapter')}
              hint={
                same &&
                t('An adapter of this name exists: this becomes its version {number}.', {
                  number: (same.versions[0]?.number ?? 0) + 1,
                })
              }
              value={name}
              placeholder={set.name}
              maxLength={120}
              onInput={(next) => choose({ ...choice, name: next })}
            />
          )}
          {optionFields(fields.main)}
          <details class="fold inner">
            <summary>{t('All other options')}</summary>
            {optionFields(fields.more)}
          </details>
        </div>
      </details>
      {faulty.length > 0 && (
        <p class="note warn" role="status">
          <Icon name="warn" /> <span>{t('Not valid: {labels}.', { labels: faulty.join(', ') })}</span>
        </p>
      )}
    </form>
  );
}

/** The queue and what was tuned before, newest first. */
function RunList({ jobs }: { jobs: Job[] }) {
  return (
    <section>
      <h2>{t('Runs')}</h2>
      <ul class="cards">
        {jobs.map((job) => (
          <Card key={job.id} to={href('jobs', job.id)} title={job.name} about={`${when(job.createdAt)}${lossOf(job)}`}>
            <span class={`chip state-${job.state}`}>{stateNames()[job.state]}</span>
          </Card>
        ))}
      </ul>
    </section>
  );
}

function lossOf({ result }: Job): string {
  return result
    ? ` · ${t('loss {base} → {adapted}', { base: number(result.nll.base, 2), adapted: number(result.nll.adapted, 2) })}`
    : '';
}
