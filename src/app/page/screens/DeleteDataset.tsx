import { useState } from 'preact/hooks';
import type { DatasetInfo, JobState } from '../../logic/types.js';
import { announce } from '../announce.js';
import { call } from '../api.js';
import { tellChanged, useResource } from '../live.js';
import { Confirm } from '../parts/Confirm.js';
import { Fault } from '../parts/Fault.js';
import { replace } from '../router.js';

interface Dependent {
  id: string;
  number: number;
  adapterName: string;
}

interface Running {
  id: string;
  name: string;
  state: JobState;
}

/** Says which adapters were made from the set: what they learnt from it stays in them, unless they go too. */
export function DeleteDataset({ set, onClose }: { set: DatasetInfo; onClose: () => void }) {
  const { data, error } = useResource(
    (signal) =>
      call<{ versions: Dependent[]; jobs: Running[] }>('GET', `/api/datasets/${set.id}/dependents`, { signal }),
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
