import { useState } from 'preact/hooks';
import type { Download, ModelEntry } from '../../../serve/contract/models.js';
import { size } from '../../logic/words.js';
import { call } from '../api.js';
import { tellChanged, useAction, useList, useServer } from '../server.js';
import { IconButton } from './controls.js';
import { Confirm } from './dialogs.js';
import { Bar, Fault, Icon, Pending } from './layout.js';

/** Base models: the installed ones and those that can be downloaded, which is the only thing in Loam that uses the network. */

/** The button that downloads a model, and its progress. */
export function ModelDownload({ model, download }: { model: ModelEntry; download?: Download }) {
  const { error, run } = useAction();
  const [asked, setAsked] = useState(false);
  const at = download ?? model.download;
  const running = at?.state === 'running' || (asked && !at);
  const send = (verb: 'fetch' | 'stop') => {
    setAsked(verb === 'fetch');
    void run(async () => {
      await call('POST', `/api/models/${encodeURIComponent(model.name)}/${verb}`, { body: {} });
    }).then((done) => done || setAsked(false));
  };
  if (running) {
    const total = at?.total ?? model.size;
    const share = at && total > 0 && at.done > 0 ? at.done / total : undefined;
    return (
      <div class="download">
        <Bar share={share} label={`Downloading ${model.title}`} />
        <p class="quiet">
          {at ? `${size(at.done)} of ${size(total)}` : 'Starting…'}
          {at?.message && <span class="hint">{at.message}</span>}
        </p>
        <button type="button" class="button small" onClick={() => send('stop')}>
          Stop
        </button>
      </div>
    );
  }
  const begun = at?.state === 'stopped' || at?.state === 'failed';
  return (
    <div class="download">
      {at?.state === 'failed' && <Fault error={new Error(at.message ?? 'The download failed.')} />}
      <Fault error={error} />
      <button type="button" class="button primary" onClick={() => send('fetch')}>
        <Icon name="import" /> {begun ? 'Resume' : 'Download'} ({size(model.size)})
      </button>
    </div>
  );
}

/** A part of the settings. */
export function Models() {
  const { downloads, status } = useServer();
  const models = useList('models');
  const [deleting, setDeleting] = useState<ModelEntry>();
  return (
    <section class="sheet">
      <h2>Models</h2>
      <p class="quiet">Downloading a model is the only thing that uses the network. Nothing of yours is sent.</p>
      <Pending of={[models]} />
      <ul class="models">
        {models.data?.map((model) => (
          <li key={model.name}>
            <div class="model-head">
              <span>
                <strong>{model.title}</strong>
                {model.name === status?.model.name && <span class="chip">default</span>}
                <br />
                <small class="quiet">{[size(model.size), model.licence?.name].filter(Boolean).join(' · ')}</small>
              </span>
              {model.installed && (
                <>
                  <span class="chip good">installed</span>
                  <IconButton
                    icon="trash"
                    size={20}
                    label={`Delete ${model.title}`}
                    onClick={() => setDeleting(model)}
                  />
                </>
              )}
            </div>
            {model.problem !== null && <Fault error={new Error(model.problem)} />}
            {!model.supported && !model.installed && (
              <p class="quiet">This version of Loam does not support its architecture.</p>
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
          <p>
            This frees {size(deleting.size)}. Adapters made for it stay, and work again once it has been downloaded
            again.
          </p>
        </Confirm>
      )}
    </section>
  );
}
