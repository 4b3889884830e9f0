import { useState } from 'preact/hooks';
import type { DatasetInfo, DatasetPreview, Dependents } from '../../../serve/contract/datasets.js';
import { call, plural, size, when } from '../api.js';
import { announce, href, replace } from '../browser.js';
import { tellChanged, useResource } from '../live.js';
import { Confirm, Dialog } from '../parts/dialogs.js';
import { Empty, Fault, Icon, Loading, Page } from '../parts/layout.js';
import { DropZone } from './AddData.js';

export function DataScreen() {
  const { data, error, reload } = useResource(
    (signal) => call<{ datasets: DatasetInfo[] }>('GET', '/api/datasets', { signal }),
    ['datasets'],
  );
  return (
    <Page
      title="Data"
      actions={
        <a class="button primary" href={href('data', 'add')}>
          <Icon name="add" /> Add
        </a>
      }
    >
      <Fault error={error} onRetry={() => void reload()} />
      {!data && !error && <Loading />}
      {data?.datasets.length === 0 && (
        <Empty title="No examples yet">
          <p>
            Show Loam how you answer: a file of questions and answers, a table, a chat log, or a few lines typed by
            hand. They are encrypted on this device and go nowhere else.
          </p>
        </Empty>
      )}
      {data && (
        <ul class="cards">
          {data.datasets.map((set) => (
            <li key={set.id}>
              <a class="card" href={href('data', set.id)}>
                <span class="card-title">{set.name}</span>
                <span class="quiet">
                  {plural(set.examples, 'example')} · {size(set.bytes)} · {when(set.createdAt)}
                </span>
                <span class="chips">
                  {set.records > set.examples && (
                    <span class="chip warn">{(set.records - set.examples).toLocaleString('en-US')} not usable</span>
                  )}
                  {(set.findings?.total ?? 0) > 0 && (
                    <span class="chip bad">
                      <Icon name="eye" size={15} /> {plural(set.findings!.total, 'private detail')}
                    </span>
                  )}
                  {set.excluded > 0 && <span class="chip">{set.excluded.toLocaleString('en-US')} left out</span>}
                </span>
                <Icon name="next" />
              </a>
            </li>
          ))}
        </ul>
      )}
      <DropZone />
    </Page>
  );
}

/** Says which adapters were made from the set: what they learnt from it stays in them, unless they go too. */
export function DeleteDataset({ set, onClose }: { set: DatasetInfo; onClose: () => void }) {
  const { data, error } = useResource(
    (signal) => call<Dependents>('GET', `/api/datasets/${set.id}/dependents`, { signal }),
    [],
  );
  const [withAdapters, setWithAdapters] = useState(false);
  const made = data?.versions ?? [];
  const running = (data?.jobs ?? []).filter(
    ({ state }) => state !== 'done' && state !== 'failed' && state !== 'cancelled',
  );
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
          <span>{running.map(({ name }) => name).join(', ')} is learning from it, and will be stopped.</span>
        </p>
      )}
      <Fault error={error} />
      {made.length > 0 && (
        <>
          <p>It was used to make:</p>
          <ul class="remarks">
            {made.map(({ id, number, adapterName }) => (
              <li key={id}>
                {adapterName}, version {number}
              </li>
            ))}
          </ul>
          <label class="check">
            <input
              type="checkbox"
              checked={withAdapters}
              onChange={(event) => setWithAdapters(event.currentTarget.checked)}
            />
            <span>Delete these too. What they learnt from this set stays in them otherwise.</span>
          </label>
        </>
      )}
    </Confirm>
  );
}

/** The very text that the model reads, and which part of it counts. */
export function WhatIsLearnt({ id, onClose }: { id: string; onClose: () => void }) {
  const { data, error } = useResource(
    (signal) => call<DatasetPreview>('GET', `/api/datasets/${id}/preview`, { signal }),
    [],
  );
  const most = Math.max(1, ...(data?.histogram ?? []).map(({ count }) => count));
  return (
    <Dialog wide title="What is learnt" onClose={onClose}>
      <Fault error={error} />
      {!data && !error && <Loading what="Counting tokens" />}
      {data && (
        <>
          <p>
            {plural(data.usable, 'example')} with {plural(data.trainedTokens, 'token')} of answers to learn.
            {data.tooLong.length > 0 &&
              ` ${plural(data.tooLong.length, 'example is', 'examples are')} too long and left out whole.`}
          </p>
          <h3>Lengths</h3>
          <table class="histogram">
            <caption class="unseen">Examples by number of tokens</caption>
            <tbody>
              {data.histogram.map(({ from, to, count }) => (
                <tr key={from}>
                  <th scope="row">
                    {from.toLocaleString('en-US')}–{to.toLocaleString('en-US')}
                  </th>
                  <td>
                    <span class="histogram-bar" style={{ width: `${(100 * count) / most}%` }} />
                  </td>
                  <td>{count.toLocaleString('en-US')}</td>
                </tr>
              ))}
            </tbody>
          </table>
          <h3>As the model reads it</h3>
          <p class="quiet">The marked part is learnt; the rest is read before it.</p>
          {data.examples.map(({ line, tokens, trained, pieces }) => (
            <section key={line} class="rendered">
              <p class="quiet">
                line {line.toLocaleString('en-US')}: {plural(tokens, 'token')}, {trained.toLocaleString('en-US')} learnt
              </p>
              <p class="prose mono">
                {pieces.map((piece, i) =>
                  piece.trained ? (
                    <mark key={i} class="learnt">
                      {piece.text}
                    </mark>
                  ) : (
                    piece.text
                  ),
                )}
              </p>
            </section>
          ))}
        </>
      )}
    </Dialog>
  );
}
