import { useEffect, useMemo, useState } from 'preact/hooks';
import type { Adapter } from '../../../serve/contract/adapters.js';
import type { DatasetInfo } from '../../../serve/contract/datasets.js';
import type { Job, OptionDeclaration } from '../../../serve/contract/jobs.js';
import type { ModelEntry } from '../../../serve/contract/models.js';
import { formFields, readForm } from '../../logic/formFields.js';
import { belongsTo } from '../../logic/speakers.js';
import { plural, stateNames, when } from '../../logic/words.js';
import { call } from '../api.js';
import { go, href } from '../browser.js';
import { Check, OptionField, Select, TextField } from '../parts/controls.js';
import { Card, Empty, Fault, Icon, Page, Pending } from '../parts/layout.js';
import { ModelDownload } from '../parts/models.js';
import { QuoteCard } from '../parts/run.js';
import { tellChanged, useAction, useAnswer, useList, useServer } from '../server.js';

/** What is to be learnt, by which model, and how; and the runs so far. */
export function TuneScreen({ dataset }: { dataset?: string }) {
  const { downloads, status } = useServer();
  const sets = useList('datasets');
  const models = useList('models');
  const options = useAnswer<{ options: OptionDeclaration[] }>('/api/options');
  const adapters = useList('adapters');
  const jobs = useList('jobs');
  if (!sets.data || !models.data || !options.data) {
    return (
      <Page title="Tune">
        <Pending of={[sets, models, options]} />
      </Page>
    );
  }
  const present = models.data.filter((model) => model.installed);
  const first = models.data.find(({ name }) => name === status?.model.name) ?? models.data[0];
  if (present.length === 0 && first) {
    return (
      <Page title="Tune">
        <Empty title="First, a model">
          <p>
            Learning starts from a model that can already write. Downloading it is the only thing that uses the network.
          </p>
          <ModelDownload model={first} download={downloads[first.name]} />
        </Empty>
      </Page>
    );
  }
  if (sets.data.length === 0) {
    return (
      <Page title="Tune">
        <Empty title="First, some examples" sprout>
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
        sets={sets.data}
        models={present}
        adapters={adapters.data ?? []}
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
  const [dataset, setDataset] = useState(chosen);
  const [model, setModel] = useState(models.find(({ name }) => name === status?.model.name)?.name ?? models[0]!.name);
  const [adapter, setAdapter] = useState('');
  const [goOn, setGoOn] = useState(false);
  const [name, setName] = useState('');
  const [typed, setTyped] = useState<Record<string, string | boolean>>({});
  const { busy, error, run } = useAction();
  const fields = useMemo(() => formFields(declared), [declared]);
  const { options, faults } = readForm([...fields.main, ...fields.more], typed);
  const faulty = [...fields.main, ...fields.more].filter((field) => field.name in faults).map(({ label }) => label);
  const set = sets.find(({ id }) => id === dataset) ?? sets[0]!;
  const base = models.find((one) => one.name === model);
  const fitting = adapters.filter((one) => base && belongsTo(one, base));
  const kept = fitting.find(({ id }) => id === adapter);
  useEffect(() => {
    if (!kept) setAdapter('');
  }, [model]);
  // The server keeps one adapter of a name.
  const same = adapters.find((one) => one.name === (name.trim() || set.name));
  const usable = set.examples - set.excluded;
  const ready = faulty.length === 0 && usable > 0;

  const start = () =>
    run(async () => {
      const body = {
        dataset: set.id,
        model,
        name: kept?.name ?? (name.trim() || set.name),
        ...(kept?.active && goOn && { start: kept.active }),
        options,
      };
      const job = await call<Job>('POST', '/api/jobs', { body });
      tellChanged('jobs');
      go('jobs', job.id);
    });
  const optionFields = (list: typeof fields.main) => (
    <div class="options">
      {list.map((field) => (
        <OptionField
          key={field.name}
          field={field}
          value={typed[field.name]}
          fault={faults[field.name]}
          onChange={(value) => setTyped({ ...typed, [field.name]: value })}
        />
      ))}
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
          label="Learn from"
          hint={plural(usable, 'example')}
          value={set.id}
          onChange={setDataset}
          options={sets.map((one) => ({ value: one.id, label: one.name }))}
        />
        <Select
          label="Start from"
          value={model}
          onChange={setModel}
          options={models.map((one) => ({ value: one.name, label: one.title }))}
        />
      </div>
      <QuoteCard
        dataset={set}
        model={model}
        options={options}
        paused={!ready}
        onLayers={(layers) => setTyped({ ...typed, layers: `top:${layers}` })}
      />
      <Fault error={error} />
      <div class="press">
        <button type="submit" class="button primary big" disabled={busy || !ready}>
          <Icon name="tune" /> {busy ? 'Starting…' : 'Tune'}
        </button>
      </div>
      <details class="fold">
        <summary>More options</summary>
        <div class="stack">
          <p class="quiet">Everything has a good default. What you leave empty is chosen for you.</p>
          {fitting.length > 0 && (
            <Select
              label="Save as"
              value={adapter}
              onChange={setAdapter}
              options={[
                { value: '', label: 'a new adapter' },
                ...fitting.map((one) => ({ value: one.id, label: `the next version of ${one.name}` })),
              ]}
            />
          )}
          {kept?.active && (
            <Check
              checked={goOn}
              onChange={setGoOn}
              hint="What it has learnt is kept; otherwise learning starts from the base model."
            >
              Continue from the version in use
            </Check>
          )}
          {adapter === '' && (
            <TextField
              label="Name of the adapter"
              hint={
                same &&
                `An adapter of this name exists: this becomes its version ${(same.versions[0]?.number ?? 0) + 1}.`
              }
              value={name}
              placeholder={set.name}
              maxLength={120}
              onInput={setName}
            />
          )}
          {optionFields(fields.main)}
          <details class="fold inner">
            <summary>All other options</summary>
            {optionFields(fields.more)}
          </details>
        </div>
      </details>
      {faulty.length > 0 && (
        <p class="note warn" role="status">
          <Icon name="warn" /> <span>Not valid: {faulty.join(', ')}.</span>
        </p>
      )}
    </form>
  );
}

/** The queue and what was tuned before, newest first. */
function RunList({ jobs }: { jobs: Job[] }) {
  return (
    <section>
      <h2>Runs</h2>
      <ul class="cards">
        {jobs.map((job) => (
          <Card key={job.id} to={href('jobs', job.id)} title={job.name} about={`${when(job.createdAt)}${lossOf(job)}`}>
            <span class={`chip state-${job.state}`}>{stateNames[job.state]}</span>
          </Card>
        ))}
      </ul>
    </section>
  );
}

function lossOf({ result }: Job): string {
  return result ? ` · loss ${result.nll.base.toFixed(2)} → ${result.nll.adapted.toFixed(2)}` : '';
}
