import { useEffect, useMemo, useState } from 'preact/hooks';
import type { Schema } from '../../../base/options.js';
import type { Adapter } from '../../../serve/contract/adapters.js';
import type { DatasetInfo } from '../../../serve/contract/datasets.js';
import type { Job, OptionDeclaration } from '../../../serve/contract/jobs.js';
import type { ModelEntry } from '../../../serve/contract/models.js';
import { formFields, readForm } from '../../logic/formFields.js';
import { call, plural } from '../api.js';
import { go, href } from '../browser.js';
import { tellChanged, useResource } from '../live.js';
import { useServer } from '../main.js';
import { belongsTo } from '../parts/conversation.js';
import { Field, OptionField } from '../parts/fields.js';
import { Empty, Fault, Icon, Loading, Page } from '../parts/layout.js';
import { QuoteCard } from '../parts/run.js';
import { ModelDownload, RunList } from './HomeScreen.js';

export function TuneScreen({ dataset }: { dataset?: string }) {
  const { downloads, status } = useServer();
  const sets = useResource(
    (signal) => call<{ datasets: DatasetInfo[] }>('GET', '/api/datasets', { signal }),
    ['datasets'],
  );
  const models = useResource((signal) => call<{ models: ModelEntry[] }>('GET', '/api/models', { signal }), ['models']);
  const options = useResource(
    (signal) => call<{ options: OptionDeclaration[] }>('GET', '/api/options', { signal }),
    [],
  );
  const adapters = useResource(
    (signal) => call<{ adapters: Adapter[] }>('GET', '/api/adapters', { signal }),
    ['adapters'],
  );
  const jobs = useResource((signal) => call<{ jobs: Job[] }>('GET', '/api/jobs', { signal }), ['jobs']);
  const error = sets.error ?? models.error ?? options.error;
  const reload = () => {
    for (const resource of [sets, models, options, adapters, jobs]) void resource.reload();
  };
  if (!sets.data || !models.data || !options.data) {
    return (
      <Page title="Tune">
        <Fault error={error} onRetry={reload} />
        {!error && <Loading />}
      </Page>
    );
  }
  const present = models.data.models.filter((model) => model.installed);
  const first = models.data.models.find(({ name }) => name === status?.model.name) ?? models.data.models[0];
  if (present.length === 0 && first) {
    return (
      <Page title="Tune">
        <Empty title="A model first">
          <p>Learning begins with a model that can speak already. This is the one thing that uses the network.</p>
          <ModelDownload model={first} download={downloads[first.name]} />
        </Empty>
      </Page>
    );
  }
  if (sets.data.datasets.length === 0) {
    return (
      <Page title="Tune">
        <Empty title="Examples first" sprout>
          <p>There is nothing to learn from yet.</p>
          <a class="button primary" href={href('data', 'add')}>
            <Icon name="add" /> Add examples
          </a>
        </Empty>
      </Page>
    );
  }
  return (
    <Page title="Tune">
      <TuneForm
        sets={sets.data.datasets}
        models={present}
        adapters={adapters.data?.adapters ?? []}
        options={options.data.options}
        chosen={dataset}
        standard={status?.model.name}
      />
      <RunList jobs={jobs.data?.jobs ?? []} />
    </Page>
  );
}

interface FormProps {
  sets: DatasetInfo[];
  models: ModelEntry[];
  adapters: Adapter[];
  options: readonly OptionDeclaration[];
  chosen?: string;
  standard?: string;
}

function TuneForm({ sets, models, adapters, options: declared, chosen, standard }: FormProps) {
  const [dataset, setDataset] = useState(sets.find(({ id }) => id === chosen)?.id ?? sets[0]!.id);
  const [model, setModel] = useState(models.find(({ name }) => name === standard)?.name ?? models[0]!.name);
  const [adapter, setAdapter] = useState('');
  const [goOn, setGoOn] = useState(false);
  const [name, setName] = useState('');
  const [typed, setTyped] = useState<Record<string, string | boolean>>({});
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error>();
  const fields = useMemo(
    () => formFields(Object.fromEntries(declared.map(({ name, ...option }) => [name, option])) as Schema),
    [declared],
  );
  const all = useMemo(() => [...fields.main, ...fields.more], [fields]);
  const { options, faults } = readForm(all, typed);
  const faulty = Object.keys(faults).length > 0;
  const set = sets.find(({ id }) => id === dataset) ?? sets[0]!;
  const base = models.find(({ name }) => name === model);
  const fitting = adapters.filter((one) => base && belongsTo(one, base));
  useEffect(() => {
    if (adapter !== '' && !fitting.some(({ id }) => id === adapter)) setAdapter('');
  }, [model]);

  const kept = fitting.find(({ id }) => id === adapter);
  // The server keeps one adapter of a name.
  const same = adapters.find((one) => one.name === (name.trim() || set.name));

  const start = async () => {
    setBusy(true);
    setError(undefined);
    try {
      const job = await call<Job>('POST', '/api/jobs', {
        body: {
          dataset: set.id,
          model,
          name: kept?.name ?? (name.trim() || set.name),
          ...(kept?.active && goOn && { start: kept.active }),
          options,
        },
      });
      tellChanged('jobs');
      go('jobs', job.id);
    } catch (caught) {
      setError(caught as Error);
      setBusy(false);
    }
  };
  const usable = set.examples - set.excluded;
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        if (!faulty) void start();
      }}
    >
      <div class="pair">
        <Field label="Learn from" hint={`${plural(usable, 'example')}`}>
          {(ids) => (
            <select {...ids} value={set.id} onChange={(event) => setDataset(event.currentTarget.value)}>
              {sets.map((one) => (
                <option key={one.id} value={one.id}>
                  {one.name}
                </option>
              ))}
            </select>
          )}
        </Field>
        <Field label="Begin with">
          {(ids) => (
            <select {...ids} value={model} onChange={(event) => setModel(event.currentTarget.value)}>
              {models.map((one) => (
                <option key={one.name} value={one.name}>
                  {one.title}
                </option>
              ))}
            </select>
          )}
        </Field>
      </div>
      <QuoteCard
        dataset={set}
        model={model}
        options={options}
        paused={faulty || usable === 0}
        onLayers={(layers) => setTyped({ ...typed, layers: `top:${layers}` })}
      />
      <Fault error={error} />
      <div class="press">
        <button type="submit" class="button primary big" disabled={busy || faulty || usable === 0}>
          <Icon name="tune" /> {busy ? 'Starting…' : 'Tune'}
        </button>
      </div>
      <details class="fold">
        <summary>More choices</summary>
        <div class="stack">
          <p class="quiet">Everything has a good default. What you leave empty is chosen for you.</p>
          {fitting.length > 0 && (
            <Field label="Keep it as">
              {(ids) => (
                <select {...ids} value={adapter} onChange={(event) => setAdapter(event.currentTarget.value)}>
                  <option value="">a new adapter</option>
                  {fitting.map((one) => (
                    <option key={one.id} value={one.id}>
                      the next version of {one.name}
                    </option>
                  ))}
                </select>
              )}
            </Field>
          )}
          {kept?.active && (
            <label class="check">
              <input type="checkbox" checked={goOn} onChange={(event) => setGoOn(event.currentTarget.checked)} />
              <span>
                Begin with the version in use
                <span class="hint">What it knows already stays; otherwise learning begins with the bare model.</span>
              </span>
            </label>
          )}
          {adapter === '' && (
            <Field
              label="Name of the adapter"
              hint={
                same && `There is one of that name: this becomes its version ${(same.versions[0]?.number ?? 0) + 1}.`
              }
            >
              {(ids) => (
                <input
                  {...ids}
                  type="text"
                  value={name}
                  placeholder={set.name}
                  maxLength={120}
                  onInput={(event) => setName(event.currentTarget.value)}
                />
              )}
            </Field>
          )}
          <div class="options">
            {fields.main.map((field) => (
              <OptionField
                key={field.name}
                field={field}
                value={typed[field.name]}
                fault={faults[field.name]}
                onChange={(value) => setTyped({ ...typed, [field.name]: value })}
              />
            ))}
          </div>
          <details class="fold inner">
            <summary>All the rest</summary>
            <div class="options">
              {fields.more.map((field) => (
                <OptionField
                  key={field.name}
                  field={field}
                  value={typed[field.name]}
                  fault={faults[field.name]}
                  onChange={(value) => setTyped({ ...typed, [field.name]: value })}
                />
              ))}
            </div>
          </details>
        </div>
      </details>
      {faulty && (
        <p class="note warn" role="status">
          <Icon name="warn" /> <span>A choice below does not fit: {Object.keys(faults).join(', ')}.</span>
        </p>
      )}
    </form>
  );
}
