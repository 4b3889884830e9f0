import { useRef } from 'preact/hooks';
import type { DatasetInfo } from '../../../serve/contract/datasets.js';
import type { Job } from '../../../serve/contract/jobs.js';
import { plural, t } from '../../logic/language.js';
import type { ChosenVersion } from '../../logic/speakers.js';
import { call } from '../api.js';
import { go } from '../browser.js';
import { tellChanged, useAction, useAnswer } from '../server.js';
import { Fault, Icon } from './layout.js';

interface LearnCorrectionsProps {
  /** What is gone on with; none: a new adapter of the base model. */
  chosen: ChosenVersion | undefined;
  model: string;
}

/** One button that learns all that was corrected since the last time, beginning with the version in use. */
export function LearnCorrections({ chosen, model }: LearnCorrectionsProps) {
  const { data } = useAnswer<{ count: number }>('/api/corrections', ['datasets', 'conversations']);
  const { busy, error, run } = useAction();
  /** What they have become, should the run not begin. */
  const set = useRef<DatasetInfo | undefined>(undefined);
  const count = data?.count ?? 0;
  if (count === 0 && !set.current) return null;
  const start = () =>
    run(async () => {
      set.current ??= await call<DatasetInfo>('POST', '/api/corrections', { body: {} });
      const made = set.current;
      tellChanged('datasets');
      const version = chosen?.adapter.active ?? chosen?.version.id;
      const name = chosen?.adapter.name ?? made.name;
      const body = { dataset: made.id, model, name, ...(version && { start: version }), options: {} };
      const job = await call<Job>('POST', '/api/jobs', { body });
      set.current = undefined;
      tellChanged('jobs');
      go('jobs', job.id);
    });
  return (
    <div class="note good">
      <Icon name="tune" />
      <div>
        {count > 0 && (
          <p>
            {plural(
              count,
              '{n} new correction was kept from the chat.',
              '{n} new corrections were kept from the chat.',
            )}
          </p>
        )}
        <button type="button" class="button small" disabled={busy} onClick={() => void start()}>
          {busy
            ? t('Starting…')
            : chosen
              ? t('Teach them to {name}', { name: chosen.adapter.name })
              : t('Learn from them')}
        </button>
        <Fault error={error} />
      </div>
    </div>
  );
}
