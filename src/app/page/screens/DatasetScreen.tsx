import { useEffect, useRef, useState } from 'preact/hooks';
import type {
  DatasetEdit,
  DatasetInfo,
  Dependents,
  ExampleFilter,
  ExamplePage,
  ExampleRow,
} from '../../../serve/contract/datasets.js';
import { isFinal } from '../../../serve/jobs/Job.js';
import { plural, t } from '../../logic/language.js';
import { ApiError, call } from '../api.js';
import { announce, href, replace } from '../browser.js';
import { useDrafts } from '../drafts.js';
import { Check, Choice, IconButton } from '../parts/controls.js';
import { Confirm, Rename } from '../parts/dialogs.js';
import { ExampleList, LearningPreview, textsOf, useExamples } from '../parts/examples.js';
import { Fault, Icon, Loading, Page } from '../parts/layout.js';
import { Redaction } from '../parts/redaction.js';
import { Refused } from '../parts/refused.js';
import { deleteLater, offerUndo } from '../parts/undo.js';
import { refresh, useAction, useAnswer } from '../server.js';
import { type EditDraft, ExampleEditor, editName } from './ExampleEditor.js';

/** One data set: its examples, filtered, and what can be done with the set as a whole. */
export function DatasetScreen({ id }: { id: string }) {
  const [filter, setFilter] = useState<ExampleFilter>('all');
  const list = useExamples(id, filter);
  const info = useAnswer<DatasetInfo>(`/api/datasets/${id}`, ['datasets']);
  const seen = useRef(info.data);
  useEffect(() => {
    if (seen.current && info.data && seen.current !== info.data) void list.reload();
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
      if (caught instanceof ApiError && caught.code === 'changed') void list.reload();
      throw caught;
    }
    announce(said);
    await Promise.all([list.reload(), refresh('datasets')]);
  };

  const close = () => setDialog(undefined);
  const shut = () => {
    setOpen(undefined);
    setRow(undefined);
  };
  const set = info.data;
  const { head } = list;
  const total = head?.total ?? 0;
  const isPartLeft = set !== undefined && set.records > set.examples;
  const [row, setRow] = useState<ExampleRow>();
  // A row that was opened by its draft may be out of view.
  const openRow = (open === undefined ? undefined : list.rows.get(open)) ?? row;
  const edits = useDrafts<EditDraft>(editName(id, ''));
  const openEdit = (edit: EditDraft) =>
    run(async () => {
      const found = await findRow(id, edit);
      if (!found) throw new Error(t('This example is no longer there.'));
      setRow(found);
    });
  if (info.error && !set) {
    return (
      <Page title={t('Data')} back={href('data')}>
        <Fault error={info.error} onRetry={() => void info.reload()} />
      </Page>
    );
  }
  return (
    <Page
      title={set?.name ?? t('Data')}
      back={href('data')}
      actions={
        <a class="button primary" href={href('tune', id)}>
          <Icon name="tune" /> {t('Tune')}
        </a>
      }
    >
      {set && (
        <p class="quiet lead">
          {plural(set.examples, '{n} example', '{n} examples')}
          {set.excluded > 0 && `, ${t('{n} left out by you', { n: set.excluded })}`}
          {isPartLeft && (
            <>
              {', '}
              <button type="button" class="link" onClick={() => setFilter('problems')}>
                {t('{records} left out: see why', {
                  records: plural(set.records - set.examples, '{n} record', '{n} records'),
                })}
              </button>
            </>
          )}
        </p>
      )}
      <div class="row">
        <a class="button small" href={href('data', 'add', id)}>
          <Icon name="add" size={18} /> {t('Add')}
        </a>
        <button type="button" class="button small" onClick={() => setDialog('preview')}>
          <Icon name="eye" size={18} /> {t('Preview')}
        </button>
        <IconButton icon="edit" size={20} label={t('Rename the data set')} onClick={() => setDialog('rename')} />
        <IconButton icon="trash" size={20} label={t('Delete the data set')} onClick={() => setDialog('delete')} />
      </div>
      {(head?.counts.findings ?? 0) > 0 && (
        <div class="note warn">
          <Icon name="eye" />
          <div>
            <p>
              {plural(
                head!.counts.findings,
                '{n} example contains private details. The model may repeat what it learns.',
                '{n} examples contain private details. The model may repeat what it learns.',
              )}
            </p>
            <div class="row">
              <button type="button" class="button small" onClick={() => setFilter('findings')}>
                {t('Show them')}
              </button>
              <button type="button" class="button small" onClick={() => setDialog('redact')}>
                {t('Redact all')}
              </button>
            </div>
          </div>
        </div>
      )}
      {edits.length > 0 && !openRow && (
        <div class="note">
          <Icon name="edit" />
          <div>
            <p>{t('{changes} not saved yet.', { changes: plural(edits.length, '{n} change', '{n} changes') })}</p>
            <div class="row">
              {edits.slice(0, 5).map(([name, edit]) => (
                <button key={name} type="button" class="button small" onClick={() => void openEdit(edit)}>
                  {t('Go on with example {index}', { index: edit.index + 1 })}
                </button>
              ))}
            </div>
          </div>
        </div>
      )}
      {!openRow && <Fault error={failed} />}
      <Choice
        label={t('Show')}
        value={filter}
        onChange={setFilter}
        options={[
          { value: 'all', label: t('All'), count: head?.counts.all },
          { value: 'problems', label: t('Problems'), count: head?.counts.problems },
          { value: 'findings', label: t('Private'), count: head?.counts.findings },
          { value: 'excluded', label: t('Left out'), count: head?.counts.excluded },
        ]}
      />
      <Fault error={list.error} onRetry={() => void list.reload()} />
      {filter === 'problems' && isPartLeft && <Refused id={id} onRepair={patch} />}
      {!head && !list.error && <Loading what={t('Reading the examples')} />}
      {head && total === 0 && !(filter === 'problems' && isPartLeft) && (
        <p class="quiet centred">{nothing()[filter]}</p>
      )}
      {total > 0 && <ExampleList total={total} rows={list.rows} onRange={list.onRange} onOpen={setOpen} />}

      {openRow && (
        <ExampleEditor
          key={open ?? openRow.index}
          dataset={id}
          row={openRow}
          busy={busy}
          error={failed}
          onClose={shut}
          onPatch={async (body, said) => {
            const done = await run(() => patch(body, said));
            // An example that leaves the filtered list makes room for another one at its place.
            const leaves =
              (filter === 'findings' &&
                (body.redact !== undefined ? openRow.findings.length === 1 : body.edit !== undefined)) ||
              (filter === 'problems' && (body.redact ?? body.edit) !== undefined) ||
              (filter === 'excluded' && body.include !== undefined);
            if (done && leaves) shut();
            if (done && body.exclude)
              offerUndo(said, () => run(() => patch({ include: body.exclude }, t('It will be learnt'))));
            if (done && row) setRow(await findRow(id, { index: row.index, base: [], texts: [] }));
            return done;
          }}
        />
      )}
      {dialog === 'rename' && set && (
        <Rename
          id={id}
          name={set.name}
          onClose={close}
          onRename={(name) => patch({ name }, t('Renamed to {name}', { name }))}
        />
      )}
      {dialog === 'redact' && (
        <Redaction
          title={t('Redact all private details')}
          id={id}
          kinds={head?.inAnswers ?? []}
          removes={isPartLeft}
          onClose={close}
          onRedact={(answers) => patch({ redact: 'all', answers }, t('All private details are redacted'))}
        />
      )}
      {dialog === 'preview' && <LearningPreview id={id} onClose={close} />}
      {dialog === 'delete' && set && <DeleteDataset set={set} onClose={close} />}
    </Page>
  );
}

/** The example that an edit is of: the one whose texts it began with, else the one in its place. */
async function findRow(id: string, { index, base }: EditDraft): Promise<ExampleRow | undefined> {
  let same: ExampleRow | undefined;
  const limit = 500;
  // Its place in the list is its number or, where records before it could not be used, less.
  for (let offset = 0; ; offset += limit) {
    const path = `/api/datasets/${id}/examples?offset=${offset}&limit=${limit}&filter=all`;
    const { examples } = await call<ExamplePage>('GET', path);
    const begun = examples.find((row) => JSON.stringify(textsOf(row).map(({ text }) => text)) === JSON.stringify(base));
    if (begun) return begun;
    same ??= examples.find((row) => row.index === index);
    if (examples.length < limit || (same && base.length === 0)) return same;
  }
}

const nothing = (): Readonly<Record<ExampleFilter, string>> => ({
  all: t('The data set is empty. Add an example.'),
  problems: t('Every record could be read.'),
  findings: t(
    'No addresses, numbers, keys or names of other people were found. The search goes by patterns: it cannot find everything.',
  ),
  excluded: t('Nothing is left out.'),
});

/** Says which adapters were made from the set: what they learnt from it stays in them, unless they go too. */
function DeleteDataset({ set, onClose }: { set: DatasetInfo; onClose: () => void }) {
  const { data, error } = useAnswer<Dependents>(`/api/datasets/${set.id}/dependents`);
  const [withAdapters, setWithAdapters] = useState(false);
  const running = data?.jobs.filter(({ state }) => !isFinal(state)) ?? [];
  return (
    <Confirm
      title={t('Delete “{name}”', { name: set.name })}
      verb={t('Delete')}
      danger
      disabled={!data}
      onClose={onClose}
      onConfirm={async () => {
        replace('data');
        const versions = withAdapters ? data!.versions.map(({ id }) => id) : [];
        deleteLater(t('“{name}” is deleted', { name: set.name }), {
          ids: [set.id, ...versions],
          path: `/api/datasets/${set.id}?adapters=${withAdapters ? 'delete' : 'keep'}`,
        });
      }}
    >
      <p>{t('Its key is destroyed ten seconds later; after that nobody can read it again.')}</p>
      {running.length > 0 && (
        <p class="note warn">
          {running.length === 1
            ? t('{name} is learning from it and will be stopped.', { name: running[0]!.name })
            : t('{names} are learning from it and will be stopped.', {
                names: running.map(({ name }) => name).join(', '),
              })}
        </p>
      )}
      <Fault error={error} />
      {data && data.versions.length > 0 && (
        <>
          <p>{t('It was used to make:')}</p>
          <ul class="remarks">
            {data.versions.map(({ id, number, adapterName }) => (
              <li key={id}>{t('{name}, version {number}', { name: adapterName, number })}</li>
            ))}
          </ul>
          <Check checked={withAdapters} onChange={setWithAdapters}>
            {t('Delete these too. Otherwise they keep what they learnt from it.')}
          </Check>
        </>
      )}
    </Confirm>
  );
}
