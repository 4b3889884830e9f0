import { useState } from 'preact/hooks';
import type { Storage } from '../../../serve/contract/server.js';
import { size } from '../../logic/words.js';
import { disconnect } from '../access.js';
import { getTheme, setTheme, type Theme } from '../browser.js';
import { Choice } from '../parts/controls.js';
import { OtherApps } from '../parts/keys.js';
import { Entry, Fault, Icon, Page } from '../parts/layout.js';
import { Models } from '../parts/models.js';
import { useAnswer, useServer } from '../server.js';
import { DestroyEverything, Protection } from './AccessScreens.js';

export function SettingsScreen() {
  const { status } = useServer();
  const [theme, pickTheme] = useState<Theme>(getTheme);
  const [destroying, setDestroying] = useState(false);
  return (
    <Page title="Settings">
      <Protection />
      <Models />
      <StorageUsed />
      <section class="sheet">
        <h2>Appearance</h2>
        <Choice
          label="Appearance"
          value={theme}
          onChange={(next) => {
            pickTheme(next);
            setTheme(next);
          }}
          options={[
            { value: 'auto', label: 'System' },
            { value: 'light', label: 'Light' },
            { value: 'dark', label: 'Dark' },
          ]}
        />
      </section>
      <OtherApps />
      <section class="sheet">
        <h2>Delete everything</h2>
        <p>Data sets, adapters, conversations and runs are destroyed with their keys.</p>
        <button type="button" class="button danger" onClick={() => setDestroying(true)}>
          <Icon name="trash" /> Delete everything
        </button>
      </section>
      <p class="quiet centred">
        Loam {status?.version}. Nothing leaves this device.{' '}
        <button
          type="button"
          class="link"
          onClick={() => {
            void disconnect().then(() => location.reload());
          }}
        >
          Disconnect this browser
        </button>
      </p>
      {destroying && <DestroyEverything onClose={() => setDestroying(false)} />}
    </Page>
  );
}

/** What takes up storage, by the server's word for it. */
const kinds: Readonly<Record<string, { name?: string; background?: string }>> = {
  datasets: { name: 'Data sets', background: 'var(--soil-c)' },
  adapters: { name: 'Adapters', background: 'var(--leaf)' },
  documents: { name: 'Conversations and runs', background: 'var(--soil-b)' },
  index: { name: 'Index' },
  models: { name: 'Models', background: 'var(--soil-a)' },
  runs: { name: 'Unfinished runs' },
};

function StorageUsed() {
  const { status } = useServer();
  const { data, error } = useAnswer<Storage>('/api/storage', ['datasets', 'adapters', 'models', 'conversations']);
  const entries = data
    ? Object.entries({ ...data.vault.byKind, models: data.models, runs: data.runs })
        .filter(([, used]) => used > 0)
        .map(([kind, used]) => ({ name: kind, ...kinds[kind], used }))
    : [];
  const total = entries.reduce((sum, { used }) => sum + used, 0);
  return (
    <section class="sheet">
      <h2>Storage</h2>
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
              <Entry name="Free on this disk">{size(status.device.freeDiskBytes)}</Entry>
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
