import { useState } from 'preact/hooks';
import type { Storage } from '../../../serve/contract/server.js';
import { languages, t } from '../../logic/language.js';
import { size } from '../../logic/words.js';
import { disconnect } from '../access.js';
import { getTheme, setTheme, type Theme } from '../browser.js';
import { chooseLanguage, getLanguage, type LanguageChoice } from '../language.js';
import { Backups } from '../parts/backup.js';
import { Choice, Select } from '../parts/controls.js';
import { OtherApps } from '../parts/keys.js';
import { Entry, Fault, Icon, Page } from '../parts/layout.js';
import { Models } from '../parts/models.js';
import { Protection } from '../parts/protection.js';
import { Rules } from '../parts/rules.js';
import { useAnswer, useServer } from '../server.js';
import { DestroyEverything } from './AccessScreens.js';

export function SettingsScreen() {
  const { status } = useServer();
  const [theme, pickTheme] = useState<Theme>(getTheme);
  const [spoken, pickLanguage] = useState<LanguageChoice>(getLanguage);
  const [destroying, setDestroying] = useState(false);
  return (
    <Page title={t('Settings')}>
      <Protection />
      <Backups />
      <Models />
      <StorageUsed />
      <Rules />
      <section class="sheet">
        <h2>{t('Appearance')}</h2>
        <Choice
          label={t('Appearance')}
          value={theme}
          onChange={(next) => {
            pickTheme(next);
            setTheme(next);
          }}
          options={[
            { value: 'auto', label: t('System') },
            { value: 'light', label: t('Light') },
            { value: 'dark', label: t('Dark') },
          ]}
        />
        <Select
          label={t('Language')}
          value={spoken}
          onChange={(next) => {
            const choice = next as LanguageChoice;
            pickLanguage(choice);
            void chooseLanguage(choice);
          }}
          options={[
            { value: 'auto', label: t('As the browser says') },
            ...Object.entries(languages).map(([value, label]) => ({ value, label })),
          ]}
        />
      </section>
      <OtherApps />
      <section class="sheet">
        <h2>{t('Delete everything')}</h2>
        <p>{t('Data sets, adapters, conversations and runs are destroyed with their keys.')}</p>
        <button type="button" class="button danger" onClick={() => setDestroying(true)}>
          <Icon name="trash" /> {t('Delete everything')}
        </button>
      </section>
      <p class="quiet centred">
        {t('Loam {version}. Nothing leaves this device.', { version: status?.version })}{' '}
        <button
          type="button"
          class="link"
          onClick={() => {
            void disconnect().then(() => location.reload());
          }}
        >
          {t('Disconnect this browser')}
        </button>
      </p>
      {destroying && <DestroyEverything onClose={() => setDestroying(false)} />}
    </Page>
  );
}

/** What takes up storage, by the server's word for it. */
const kinds = (): Readonly<Record<string, { name?: string; background?: string }>> => ({
  datasets: { name: t('Data sets'), background: 'var(--soil-c)' },
  adapters: { name: t('Adapters'), background: 'var(--leaf)' },
  documents: { name: t('Conversations and runs'), background: 'var(--soil-b)' },
  index: { name: t('Index') },
  models: { name: t('Models'), background: 'var(--soil-a)' },
  runs: { name: t('Unfinished runs') },
});

function StorageUsed() {
  const { status } = useServer();
  const { data, error } = useAnswer<Storage>('/api/storage', ['datasets', 'adapters', 'models', 'conversations']);
  const entries = data
    ? Object.entries({ ...data.vault.byKind, models: data.models, runs: data.runs })
        .filter(([, used]) => used > 0)
        .map(([kind, used]) => ({ name: kind, ...kinds()[kind], used }))
    : [];
  const total = entries.reduce((sum, { used }) => sum + used, 0);
  return (
    <section class="sheet">
      <h2>{t('Storage')}</h2>
      <Fault error={error} />
      {data && (
        <>
          <div class="strata" aria-hidden="true">
            {entries.map(({ name, background, used }) => (
              <span key={name} class="swatch" style={{ background, flexGrow: Math.max(used, total / 100) }} />
            ))}
          </div>
          <dl class="lineage">
            {entries.map(({ name, background, used }) => (
              <div key={name}>
                <dt>
                  <span class="swatch" style={{ background }} /> {name}
                </dt>
                <dd>{size(used)}</dd>
              </div>
            ))}
            {status?.device?.freeDiskBytes !== undefined && (
              <Entry name={t('Free on this disk')}>{size(status.device.freeDiskBytes)}</Entry>
            )}
          </dl>
          {data.problems.map((problem) => (
            <Fault key={problem} error={new Error(problem)} />
          ))}
        </>
      )}
    </section>
  );
}
