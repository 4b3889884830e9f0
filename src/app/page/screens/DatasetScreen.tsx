import { useEffect, useRef, useState } from 'preact/hooks';
import { count } from '../../../base/format.js';
import type {
  DatasetEdit,
  DatasetInfo,
  Dependents,
  ExampleFilter,
  ExamplePage,
} from '../../../serve/contract/datasets.js';
import { isFinal } from '../../../serve/jobs/Job.js';
import { plural } from '../../logic/words.js';
import { ApiError, call } from '../api.js';
import { announce, href, replace } from '../browser.js';
import { Check, Choice, IconButton } from '../parts/controls.js';
import { Confirm, Rename } from '../parts/dialogs.js';
import { ExampleList, LearningPreview, useExamples } from '../parts/examples.js';
import { Fault, Icon, Loading, Page } from '../parts/layout.js';
import { tellChanged, useAction, useAnswer } from '../server.js';
import { ExampleEditor } from './ExampleEditor.js';

/** One data set: its examples, filtered, and what can be done with the set as a whole. */
export function DatasetScreen({ id }: { id: string }) {
  const [filter, setFilter] = useState<ExampleFilter>('all');
  const list = useExamples(id, filter);
  const info = useAnswer<DatasetInfo>(`/api/datasets/${id}`, ['datasets']);
  const seen = useRef(info.data);
  useEffect(() => {
    if (seen.current && info.data && seen.current !== info.data) list.reload();
    seen.current = info.data;
  }, [info.data]);
  const [open, setOpen] = useState<number>();
  const [dialog, setDialog] = useState<'rename' | 'delete' | 'preview' | 'redact'>();
  const { busy, error: failed, run } = useAction();

  /** Throws ApiError. Numbers of examples hold for one content only: another browser may have changed it. */
  const patch = async (body: DatasetEdit, said: string) => {
    const sha256 = body.name === undefined ? list.head?.sha256 : undefined;
    try {
      await call('PATCH', `/api/datasets/${id}`, { body: { ...body, ...(sha256 && { sha256 }) } });
    } catch (caught) {
      if (caught instanceof ApiError && caught.code === 'changed') list.reload();
      throw caught;
    }
    announce(said);
    tellChanged('datasets');
  };

  const close = () => setDialog(undefined);
  const set = info.data;
  const { head } = list;
  const total = head?.total ?? 0;
  const refused = head?.problems.filter(({ severity }) => severity === 'error') ?? [];
  const openRow = open === undefined ? undefined : list.rows.get(open);
  if (info.error && !set) {
    return (
      <Page title="Data" back={href('data')}>
        <Fault error={info.error} onRetry={() => void info.reload()} />
      </Page>
    );
  }
  return (
    <Page
      title={set?.name ?? 'Data'}
      back={href('data')}
      actions={
        <a class="button primary" href={href('tune', id)}>
          <Icon name="tune" /> Tune
        </a>
      }
    >
      {set && (
        <p class="quiet lead">
          {plural(set.examples, 'example')}
          {set.excluded > 0 && `, ${count(set.excluded)} left out`}
        </p>
      )}
      <div class="row">
        <a class="button small" href={href('data', 'add', id)}>
          <Icon name="add" size={18} /> Add
        </a>
        <button type="button" class="button small" onClick={() => setDialog('preview')}>
          <Icon name="eye" size={18} /> Preview
        </button>
        <IconButton icon="edit" size={20} label="Rename the data set" onClick={() => setDialog('rename')} />
        <IconButton icon="trash" size={20} label="Delete the data set" onClick={() => setDialog('delete')} />
      </div>
      {(head?.counts.findings ?? 0) > 0 && (
        <div class="note warn">
          <Icon name="eye" />
          <div>
            <p>
              {plural(head!.counts.findings, 'example contains', 'examples contain')} private details. The model may
              repeat what it learns.
            </p>
            <div class="row">
              <button type="button" class="button small" onClick={() => setFilter('findings')}>
                Show them
              </button>
              <button type="button" class="button small" onClick={() => setDialog('redact')}>
                Redact all
              </button>
            </div>
          </div>
        </div>
      )}
      <Choice
        label="Show"
        value={filter}
        onChange={setFilter}
        options={[
          { value: 'all', label: 'All', count: head?.counts.all },
          { value: 'problems', label: 'Problems', count: head?.counts.problems },
          { value: 'findings', label: 'Private', count: head?.counts.findings },
          { value: 'excluded', label: 'Left out', count: head?.counts.excluded },
        ]}
      />
      <Fault error={list.error} onRetry={list.reload} />
      {filter === 'problems' && <Refused records={refused} />}
      {!head && !list.error && <Loading what="Reading the examples" />}
      {head && total === 0 && !(filter === 'problems' && refused.length > 0) && (
        <p class="quiet centred">{nothing[filter]}</p>
      )}
      {total > 0 && <ExampleList total={total} rows={list.rows} onRange={list.onRange} onOpen={setOpen} />}

      {openRow && (
        <ExampleEditor
          key={open}
          row={openRow}
          busy={busy}
          error={failed}
          onClose={() => setOpen(undefined)}
          onPatch={async (body, said) => {
            const done = await run(() => patch(body, said));
            // An example that leaves the filtered list makes room for another one at its place.
            const leaves =
              (filter === 'findings' &&
                (body.redact !== undefined ? openRow.findings.length === 1 : body.edit !== undefined)) ||
              (filter === 'problems' && (body.redact ?? body.edit) !== undefined) ||
              (filter === 'excluded' && body.include !== undefined);
            if (done && leaves) setOpen(undefined);
            return done;
          }}
        />
      )}
      {dialog === 'rename' && set && (
        <Rename name={set.name} onClose={close} onRename={(name) => patch({ name }, `Renamed to ${name}`)} />
      )}
      {dialog === 'redact' && (
        <Confirm
          title="Redact all private details"
          verb="Redact"
          onClose={close}
          onConfirm={() => patch({ redact: 'all' }, 'All private details are redacted')}
        >
          <p>
            Each address, number, key and name that was found is replaced by a placeholder such as{' '}
            <code>[phone 1]</code>; the original text is destroyed. Findings are guesses: review them first if you want
            to keep some.
          </p>
        </Confirm>
      )}
      {dialog === 'preview' && <LearningPreview id={id} onClose={close} />}
      {dialog === 'delete' && set && <DeleteDataset set={set} onClose={close} />}
    </Page>
  );
}

const nothing: Readonly<Record<ExampleFilter, string>> = {
  all: 'The data set is empty. Add an example.',
  problems: 'Every record could be read.',
  findings:
    'No addresses, numbers, keys or names of other people were found. The search goes by patterns: it cannot find everything.',
  excluded: 'Nothing is left out.',
};

/** Records that could not be used have no row of their own. */
function Refused({ records }: { records: ExamplePage['problems'] }) {
  if (records.length === 0) return null;
  const shown = records.slice(0, 100);
  return (
    <section class="sheet">
      <h2>
        {records.length >= 1000 && 'At least '}
        {plural(records.length, 'record')} could not be used
      </h2>
      <ul class="remarks">
        {shown.map(({ line, reason }) => (
          <li key={`${line}${reason}`}>
            <span class="line-number">line {count(line)}</span> {reason}
          </li>
        ))}
      </ul>
      {records.length > shown.length && <p class="quiet">and {count(records.length - shown.length)} more</p>}
    </section>
  );
}

/** Says which adapters were made from the set: what they learnt from it stays in them, unless they go too. */
function DeleteDataset({ set, onClose }: { set: DatasetInfo; onClose: () => void }) {
  const { data, error } = useAnswer<Dependents>(`/api/datasets/${set.id}/dependents`);
  const [withAdapters, setWithAdapters] = useState(false);
  const running = data?.jobs.filter(({ state }) => !isFinal(state)) ?? [];
  return (
    <Confirm
      title={`Delete “${set.name}”`}
      verb="Delete"
      danger
      disabled={!data}
      onClose={onClose}
      onConfirm={async () => {
        await call('DELETE', `/api/datasets/${set.id}?adapters=${withAdapters ? 'delete' : 'keep'}`);
        announce(`${set.name} is deleted`);
        replace('data');
        tellChanged('datasets');
        if (withAdapters) tellChanged('adapters');
      }}
    >
      <p>Its key is destroyed, so nobody can read it again.</p>
      {running.length > 0 && (
        <p class="note warn">
          {running.map(({ name }) => name).join(', ')}{' '}
          {running.length === 1
            ? 'is learning from it and will be stopped.'
            : 'are learning from it and will be stopped.'}
        </p>
      )}
      <Fault error={error} />
      {data && data.versions.length > 0 && (
        <>
          <p>It was used to make:</p>
          <ul class="remarks">
            {data.versions.map(({ id, number, adapterName }) => (
              <li key={id}>
                {adapterName}, version {number}
              </li>
            ))}
          </ul>
          <Check checked={withAdapters} onChange={setWithAdapters}>
            Delete these too. Otherwise they keep what they learnt from it.
          </Check>
        </>
      )}
    </Confirm>
  );
}
