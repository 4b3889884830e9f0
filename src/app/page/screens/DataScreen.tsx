import type { DatasetInfo } from '../../logic/types.js';
import { call } from '../api.js';
import { useResource } from '../live.js';
import { DropZone } from '../parts/DropZone.js';
import { Empty } from '../parts/Empty.js';
import { Fault } from '../parts/Fault.js';
import { Icon } from '../parts/Icon.js';
import { Loading } from '../parts/Loading.js';
import { Page } from '../parts/Page.js';
import { plural, size, when } from '../readable.js';
import { href } from '../router.js';

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
