import { useState } from 'preact/hooks';
import type { ModelEntry } from '../../../serve/contract/models.js';
import type { Storage } from '../../../serve/contract/server.js';
import { call, getToken, setToken, size } from '../api.js';
import { getTheme, go, setTheme, type Theme } from '../browser.js';
import { tellChanged, useResource } from '../live.js';
import { useServer } from '../main.js';
import { Confirm } from '../parts/dialogs.js';
import { Choice, Field } from '../parts/fields.js';
import { Fault, Icon, Page } from '../parts/layout.js';
import { Passphrase } from '../parts/Passphrase.js';
import { ModelDownload } from './HomeScreen.js';

const words = 'delete everything';

/** The last resort asks for the words to be typed. */
export function DestroyEverything({ onClose }: { onClose: () => void }) {
  const { reload } = useServer();
  const [typed, setTyped] = useState('');
  return (
    <Confirm
      title="Delete everything"
      verb="Delete everything"
      danger
      disabled={typed.trim().toLowerCase() !== words}
      onClose={onClose}
      onConfirm={async () => {
        await call('POST', '/api/vault/destroy', { body: { confirm: words } });
        for (const what of ['datasets', 'adapters', 'conversations', 'jobs'] as const) tellChanged(what);
        await reload();
        go();
      }}
    >
      <p>
        All data sets, adapters, conversations and runs are destroyed with their keys. Nobody can bring them back, you
        included. Downloaded models stay.
      </p>
      <Field label={`Type “${words}” to go on`}>
        {(ids) => (
          <input
            {...ids}
            type="text"
            value={typed}
            autocomplete="off"
            autocapitalize="off"
            onInput={(event) => setTyped(event.currentTarget.value)}
          />
        )}
      </Field>
    </Confirm>
  );
}

export function SettingsScreen() {
  const { status } = useServer();
  const [theme, pickTheme] = useState<Theme>(getTheme);
  const [destroying, setDestroying] = useState(false);
  return (
    <Page title="Settings">
      <Passphrase />
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
            { value: 'auto', label: 'As the device' },
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
            setToken(null);
            location.reload();
          }}
        >
          Disconnect this browser
        </button>
      </p>
      {destroying && <DestroyEverything onClose={() => setDestroying(false)} />}
    </Page>
  );
}

function Models() {
  const { downloads, status } = useServer();
  const { data, error, reload } = useResource(
    (signal) => call<{ models: ModelEntry[] }>('GET', '/api/models', { signal }),
    ['models'],
  );
  const [deleting, setDeleting] = useState<ModelEntry>();
  return (
    <section class="sheet">
      <h2>Models</h2>
      <p class="quiet">Fetching a model is the one thing that uses the network. Nothing of yours is sent.</p>
      <Fault error={error} onRetry={() => void reload()} />
      <ul class="models">
        {data?.models.map((model) => (
          <li key={model.name}>
            <div class="model-head">
              <span>
                <strong>{model.title}</strong>
                {model.name === status?.model.name && <span class="chip">standard</span>}
                <br />
                <small class="quiet">{[size(model.size), model.licence?.name].filter(Boolean).join(' · ')}</small>
              </span>
              {model.installed && (
                <>
                  <span class="chip good">here</span>
                  <button
                    type="button"
                    class="icon-button"
                    aria-label={`Delete ${model.title}`}
                    onClick={() => setDeleting(model)}
                  >
                    <Icon name="trash" size={20} />
                  </button>
                </>
              )}
            </div>
            {model.problem !== null && <Fault error={new Error(model.problem)} />}
            {!model.supported && !model.installed && (
              <p class="quiet">Its architecture is not known to this version.</p>
            )}
            {!model.installed && model.supported && model.fetchable && (
              <ModelDownload model={model} download={downloads[model.name]} />
            )}
          </li>
        ))}
      </ul>
      {deleting && (
        <Confirm
          title={`Delete ${deleting.title}`}
          verb="Delete"
          danger
          onClose={() => setDeleting(undefined)}
          onConfirm={async () => {
            await call('DELETE', `/api/models/${encodeURIComponent(deleting.name)}`);
            tellChanged('models');
          }}
        >
          <p>{size(deleting.size)} become free. Adapters made for it stay, and work again when it is fetched anew.</p>
        </Confirm>
      )}
    </section>
  );
}

const kinds: Readonly<Record<string, string>> = {
  datasets: 'Data sets',
  adapters: 'Adapters',
  documents: 'Conversations and runs',
  index: 'Index',
  models: 'Models',
  runs: 'Unfinished runs',
};

function StorageUsed() {
  const { status } = useServer();
  const { data, error } = useResource(
    (signal) => call<Storage>('GET', '/api/storage', { signal }),
    ['datasets', 'adapters', 'models', 'conversations'],
  );
  const entries = data
    ? Object.entries({ ...data.vault.byKind, models: data.models, runs: data.runs }).filter(([, used]) => used > 0)
    : [];
  const total = entries.reduce((sum, [, used]) => sum + used, 0);
  return (
    <section class="sheet">
      <h2>Storage</h2>
      <Fault error={error} />
      {data && (
        <>
          <div class="strata" aria-hidden="true">
            {entries.map(([kind, used]) => (
              <span key={kind} class={`stratum ${kind}`} style={{ flexGrow: Math.max(used, total / 100) }} />
            ))}
          </div>
          <dl class="lineage">
            {entries.map(([kind, used]) => (
              <div key={kind}>
                <dt>
                  <span class={`swatch ${kind}`} /> {kinds[kind] ?? kind}
                </dt>
                <dd>{size(used)}</dd>
              </div>
            ))}
            {status?.device?.freeDiskBytes !== undefined && (
              <div>
                <dt>Free on this disk</dt>
                <dd>{size(status.device.freeDiskBytes)}</dd>
              </div>
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

function OtherApps() {
  const [copied, setCopied] = useState<string>();
  const base = `${location.origin}/v1`;
  const copy = async (what: string, text: string) => {
    try {
      await navigator.clipboard.writeText(text);
      setCopied(what);
    } catch {
      setCopied(undefined);
    }
  };
  return (
    <section class="sheet">
      <h2>Other apps</h2>
      <p>
        Chat apps that speak OpenAI’s protocol can use your model: enter this address, and as key the token of this
        server. Give the token to nothing that you do not trust with everything here.
      </p>
      <dl class="lineage">
        <div>
          <dt>Address</dt>
          <dd>
            <code>{base}</code>
          </dd>
        </div>
      </dl>
      <div class="row">
        <button type="button" class="button small" onClick={() => void copy('address', base)}>
          Copy the address
        </button>
        <button type="button" class="button small" onClick={() => void copy('token', getToken() ?? '')}>
          Copy the token
        </button>
      </div>
      <p class="quiet" role="status">
        {copied ? `The ${copied} is copied.` : ''}
      </p>
    </section>
  );
}
