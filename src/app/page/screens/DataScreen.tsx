import type { DatasetInfo } from '../../../serve/contract/datasets.js';
import { plural, t } from '../../logic/language.js';
import { size, when } from '../../logic/words.js';
import { call } from '../api.js';
import { go, href } from '../browser.js';
import { useSpeakers } from '../parts/conversation.js';
import { LearnCorrections } from '../parts/corrections.js';
import { DropZone } from '../parts/files.js';
import { Card, Empty, Fault, Icon, Page, Pending } from '../parts/layout.js';
import { learnNext } from '../parts/tuneChoice.js';
import { tellChanged, useAction, useList } from '../server.js';

export function DataScreen() {
  const sets = useList('datasets');
  const { ready, speaker, chosen } = useSpeakers();
  const adding = useAction();
  const addSample = async () => {
    const made = await call<DatasetInfo>('POST', '/api/datasets/sample', { body: {} });
    learnNext(made.id);
    tellChanged('datasets');
    go('data', made.id);
  };
  return (
    <Page
      title={t('Data')}
      actions={
        <a class="button primary" href={href('data', 'add')}>
          <Icon name="add" /> {t('Add')}
        </a>
      }
    >
      <Pending of={[sets]} />
      {sets.data?.length === 0 && (
        <Empty title={t('No examples yet')}>
          <p>
            {t(
              'Show Loam how you answer: a file of questions and answers, a table, a chat log, or a few lines typed by hand. Everything is encrypted on this device and goes nowhere else.',
            )}
          </p>
          <button type="button" class="button" disabled={adding.busy} onClick={() => void adding.run(addSample)}>
            {t('Try it with sample data')}
          </button>
          <Fault error={adding.error} />
        </Empty>
      )}
      {sets.data && (
        <ul class="cards">
          {sets.data.map((set) => (
            <Card
              key={set.id}
              to={href('data', set.id)}
              title={set.name}
              about={`${plural(set.examples, '{n} example', '{n} examples')} · ${size(set.bytes)} · ${when(set.createdAt)}`}
            >
              {set.records > set.examples && (
                <span class="chip warn">{t('{n} not usable', { n: set.records - set.examples })}</span>
              )}
              {(set.findings?.total ?? 0) > 0 && (
                <span class="chip bad">
                  <Icon name="eye" size={15} />{' '}
                  {plural(set.findings!.total, '{n} private detail', '{n} private details')}
                </span>
              )}
              {set.excluded > 0 && <span class="chip">{t('{n} left out', { n: set.excluded })}</span>}
            </Card>
          ))}
        </ul>
      )}
      {ready && speaker && <LearnCorrections chosen={chosen} model={speaker.model} />}
      <DropZone />
    </Page>
  );
}
