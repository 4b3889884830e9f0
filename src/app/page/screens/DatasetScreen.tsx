import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import type { DatasetInfo, ExampleFilter, ExamplePage, ExampleRow } from '../../../serve/contract/datasets.js';
import { ApiError, call, capital, plural } from '../api.js';
import { announce, href } from '../browser.js';
import { tellChanged, useResource } from '../live.js';
import { Dialog } from '../parts/dialogs.js';
import { Choice, Field } from '../parts/fields.js';
import { Fault, Icon, Loading, Page } from '../parts/layout.js';
import { WindowedList } from '../parts/WindowedList.js';
import { DeleteDataset, WhatIsLearnt } from './DataScreen.js';
import { ExampleEditor, textsOf } from './ExampleEditor.js';

/** Examples asked for at a time. */
const PAGE = 50;
const ROW = 100;

/** Rows of a filtered list, fetched where they come into view. */
function useExamples(id: string, filter: ExampleFilter) {
  const [head, setHead] = useState<ExamplePage>();
  const [rows, setRows] = useState<ReadonlyMap<number, ExampleRow>>(new Map());
  const [error, setError] = useState<Error>();
  const asked = useRef(new Set<number>());
  const round = useRef(0);

  const fetchPage = useCallback(
    async (page: number) => {
      if (asked.current.has(page)) return;
      asked.current.add(page);
      const mine = round.current;
      try {
        const answer = await call<ExamplePage>(
          'GET',
          `/api/datasets/${id}/examples?offset=${page * PAGE}&limit=${PAGE}&filter=${filter}`,
        );
        if (mine !== round.current) return;
        setHead(answer);
        setError(undefined);
        setRows((old) => {
          const next = new Map(old);
          answer.examples.forEach((row, i) => {
            next.set(page * PAGE + i, row);
          });
          return next;
        });
      } catch (caught) {
        asked.current.delete(page);
        if (mine === round.current) setError(caught as Error);
      }
    },
    [id, filter],
  );

  const pages = useRef<[number, number]>([0, 0]);
  const reload = useCallback(() => {
    round.current++;
    asked.current.clear();
    // Rows in sight stay until the new ones are here.
    for (let page = pages.current[0]; page <= pages.current[1]; page++) void fetchPage(page);
  }, [fetchPage]);

  useEffect(() => {
    setRows(new Map());
    pages.current = [0, 0];
    reload();
  }, [reload]);

  const onRange = useCallback(
    (from: number, to: number) => {
      pages.current = [Math.floor(from / PAGE), Math.floor(Math.max(from, to - 1) / PAGE)];
      for (let page = pages.current[0]; page <= pages.current[1]; page++) void fetchPage(page);
    },
    [fetchPage],
  );
  return { head, rows, error, onRange, reload };
}

export function DatasetScreen({ id }: { id: string }) {
  const [filter, setFilter] = useState<ExampleFilter>('all');
  const list = useExamples(id, filter);
  const info = useResource(
    async (signal) => {
      const answer = await call<DatasetInfo>('GET', `/api/datasets/${id}`, { signal });
      return answer;
    },
    ['datasets'],
    [id],
  );
  const seen = useRef(info.data);
  useEffect(() => {
    if (seen.current && info.data && seen.current !== info.data) list.reload();
    seen.current = info.data;
  }, [info.data]);
  const [open, setOpen] = useState<number>();
  const [dialog, setDialog] = useState<'rename' | 'delete' | 'learnt' | 'redact'>();
  const [busy, setBusy] = useState(false);
  const [failed, setFailed] = useState<Error>();

  const patch = async (body: Record<string, unknown>, said: string) => {
    setBusy(true);
    setFailed(undefined);
    try {
      // Numbers of examples hold for one content only: another browser may have changed it.
      const numbered = body.name === undefined && body.add === undefined;
      const sha256 = numbered ? list.head?.sha256 : undefined;
      await call('PATCH', `/api/datasets/${id}`, { body: { ...body, ...(sha256 && { sha256 }) } });
      announce(said);
      tellChanged('datasets');
      return true;
    } catch (caught) {
      setFailed(caught as Error);
      if (caught instanceof ApiError && caught.status === 409) list.reload();
      return false;
    } finally {
      setBusy(false);
    }
  };

  const set = info.data;
  const counts = list.head?.counts;
  const total = list.head?.total ?? 0;
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
          {set.excluded > 0 && `, ${set.excluded.toLocaleString('en-US')} left out`}
        </p>
      )}
      <div class="toolbar">
        <a class="button small" href={href('data', 'add', id)}>
          <Icon name="add" size={18} /> Add
        </a>
        <button type="button" class="button small" onClick={() => setDialog('learnt')}>
          <Icon name="eye" size={18} /> Preview
        </button>
        <button type="button" class="icon-button" aria-label="Rename the set" onClick={() => setDialog('rename')}>
          <Icon name="edit" size={20} />
        </button>
        <button type="button" class="icon-button" aria-label="Delete the set" onClick={() => setDialog('delete')}>
          <Icon name="trash" size={20} />
        </button>
      </div>
      {(counts?.findings ?? 0) > 0 && (
        <div class="note warn">
          <Icon name="eye" />
          <div>
            <p>
              {plural(counts!.findings, 'example holds', 'examples hold')} private details. What is learnt may come out
              again.
            </p>
            <div class="row">
              <button type="button" class="button small" onClick={() => setFilter('findings')}>
                Look at them
              </button>
              <button type="button" class="button small" disabled={busy} onClick={() => setDialog('redact')}>
                Redact all
              </button>
            </div>
          </div>
        </div>
      )}
      <Fault error={failed} />
      <Choice
        label="Show"
        value={filter}
        onChange={setFilter}
        options={[
          { value: 'all', label: 'All', count: counts?.all },
          { value: 'problems', label: 'Remarks', count: counts?.problems },
          { value: 'findings', label: 'Private', count: counts?.findings },
          { value: 'excluded', label: 'Left out', count: counts?.excluded },
        ]}
      />
      <Fault error={list.error} onRetry={list.reload} />
      {filter === 'problems' && <Refused problems={list.head?.problems ?? []} />}
      {!list.head && !list.error && <Loading what="Reading the examples" />}
      {list.head && total === 0 && !(filter === 'problems' && (list.head.problems?.length ?? 0) > 0) && (
        <p class="quiet centred">{nothing[filter]}</p>
      )}
      {total > 0 && (
        <WindowedList
          rows={total}
          rowHeight={ROW}
          label="Examples"
          onRange={list.onRange}
          render={(row) => <Row row={list.rows.get(row)} onOpen={() => setOpen(row)} />}
        />
      )}

      {openRow && open !== undefined && (
        <ExampleEditor
          key={open}
          row={openRow}
          busy={busy}
          error={failed}
          onClose={() => setOpen(undefined)}
          onPatch={async (body, said) => {
            const done = await patch(body, said);
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
        <Rename
          name={set.name}
          onClose={() => setDialog(undefined)}
          onRename={(name) => patch({ name }, `Renamed to ${name}`)}
        />
      )}
      {dialog === 'redact' && (
        <Dialog
          title="Redact all private details"
          onClose={() => setDialog(undefined)}
          actions={
            <>
              <button type="button" class="button" onClick={() => setDialog(undefined)}>
                Cancel
              </button>
              <button
                type="button"
                class="button primary"
                disabled={busy}
                onClick={async () => {
                  if (await patch({ redact: 'all' }, 'All private details are redacted')) setDialog(undefined);
                }}
              >
                Redact
              </button>
            </>
          }
        >
          <p>
            Each address, number, key and name that was found is replaced by a placeholder such as{' '}
            <code>[phone 1]</code>; the earlier text is destroyed. Findings are guesses: look through them first if you
            want to keep some.
          </p>
        </Dialog>
      )}
      {dialog === 'learnt' && <WhatIsLearnt id={id} onClose={() => setDialog(undefined)} />}
      {dialog === 'delete' && set && <DeleteDataset set={set} onClose={() => setDialog(undefined)} />}
    </Page>
  );
}

const nothing: Readonly<Record<ExampleFilter, string>> = {
  all: 'The set is empty. Add an example.',
  problems: 'Every record could be read.',
  findings:
    'No addresses, numbers, keys or names of others were found. That is a search by form: it cannot find everything.',
  excluded: 'Nothing is left out.',
};

function Row({ row, onOpen }: { row: ExampleRow | undefined; onOpen: () => void }) {
  if (!row) return <div class="example waiting" />;
  const texts = textsOf(row);
  const question = texts.filter(({ role }) => role === 'question').map(({ text }) => text);
  const answer = texts.filter(({ role }) => role === 'answer').map(({ text }) => text);
  return (
    <button type="button" class={row.excluded ? 'example excluded' : 'example'} onClick={onOpen}>
      <span class="example-question">{question.join(' · ').slice(0, 300)}</span>
      <span class="example-answer">{answer.join(' · ').slice(0, 300)}</span>
      <span class="chips">
        {row.excluded && <span class="chip">left out</span>}
        {row.problems.length > 0 && <span class="chip warn">{row.problems[0]!.reason}</span>}
        {row.findings.length > 0 && (
          <span class="chip bad">{capital([...new Set(row.findings.map(({ label }) => label))].join(', '))}</span>
        )}
      </span>
    </button>
  );
}

/** Records that could not be used have no row of their own. */
function Refused({ problems }: { problems: NonNullable<ExamplePage['problems']> }) {
  const refused = problems.filter(({ severity }) => severity === 'error');
  if (refused.length === 0) return null;
  const shown = refused.slice(0, 100);
  return (
    <section class="sheet">
      <h2>{plural(refused.length, 'record')} could not be used</h2>
      <ul class="remarks">
        {shown.map(({ line, reason }) => (
          <li key={`${line}${reason}`}>
            <span class="line-number">line {line.toLocaleString('en-US')}</span> {reason}
          </li>
        ))}
      </ul>
      {refused.length > shown.length && <p class="quiet">and {refused.length - shown.length} more</p>}
    </section>
  );
}

function Rename({
  name,
  onClose,
  onRename,
}: {
  name: string;
  onClose: () => void;
  onRename: (name: string) => Promise<boolean>;
}) {
  const [next, setNext] = useState(name);
  return (
    <Dialog
      title="Rename"
      onClose={onClose}
      actions={
        <button
          type="button"
          class="button primary"
          disabled={next.trim() === ''}
          onClick={async () => {
            if (await onRename(next.trim())) onClose();
          }}
        >
          Rename
        </button>
      }
    >
      <Field label="Name">
        {(ids) => (
          <input {...ids} type="text" value={next} maxLength={120} onInput={(e) => setNext(e.currentTarget.value)} />
        )}
      </Field>
    </Dialog>
  );
}
