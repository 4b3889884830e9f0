import { useEffect, useRef, useState } from 'preact/hooks';
import type { ApiFault } from '../../../serve/contract/errors.js';
import type { AddedModel, Download, ModelAdvice, ModelEntry } from '../../../serve/contract/models.js';
import { number, t } from '../../logic/language.js';
import { capital, size } from '../../logic/words.js';
import { ApiError, call } from '../api.js';
import { announce } from '../browser.js';
import { tellChanged, useAction, useAnswer, useList, useServer } from '../server.js';
import { uploadFile } from '../uploads.js';
import { IconButton, useFilePicker } from './controls.js';
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
        <Bar share={share} label={t('Downloading {title}', { title: model.title })} />
        <p class="quiet">
          {at ? t('{done} of {total}', { done: size(at.done), total: size(total) }) : t('Starting…')}
          {at?.message && (
            <span class="hint" lang="en">
              {at.message}
            </span>
          )}
        </p>
        <button type="button" class="button small" onClick={() => send('stop')}>
          {t('Stop')}
        </button>
      </div>
    );
  }
  const begun = at?.state === 'stopped' || at?.state === 'failed';
  return (
    <div class="download">
      {at?.state === 'failed' && (
        <Fault
          error={at.message === undefined ? new Error(t('The download failed.')) : new ApiError(0, at as ApiFault)}
        />
      )}
      <Fault error={error} />
      <button type="button" class="button primary" onClick={() => send('fetch')}>
        <Icon name="import" /> {begun ? t('Resume') : t('Download')} ({size(model.size)})
      </button>
    </div>
  );
}

/** A model file of the person's own: on a phone, from its storage or a card. Nothing of it goes further than to the server. */
export function ModelFile() {
  const [share, setShare] = useState<number>();
  const abort = useRef<AbortController | undefined>(undefined);
  const { busy, error, run } = useAction();
  const [added, setAdded] = useState<AddedModel>();
  const take = (file: File) =>
    run(async () => {
      abort.current = new AbortController();
      setAdded(undefined);
      setShare(0);
      try {
        const upload = await uploadFile('model', file, setShare, abort.current.signal);
        setShare(1);
        setAdded(await call<AddedModel>('POST', '/api/models', { body: { upload } }));
        tellChanged('models');
        announce(t('{name} is added', { name: file.name }));
      } finally {
        setShare(undefined);
      }
    });
  const { input, pick } = useFilePicker(([file]) => void take(file!), { label: t('Model file') });
  return (
    <div class="download">
      {input}
      {share === undefined ? (
        <button type="button" class="button" disabled={busy} onClick={pick}>
          <Icon name="add" /> {t('Choose a model file')}
        </button>
      ) : (
        <>
          <Bar
            share={share < 1 ? share : undefined}
            label={share < 1 ? t('Taking the file') : t('Checking the file')}
          />
          <p class="quiet">
            {share < 1 ? t('Taking the file: {n}%', { n: Math.floor(100 * share) }) : t('Checking the file…')}
          </p>
          {share < 1 && (
            <button type="button" class="button small" onClick={() => abort.current?.abort()}>
              {t('Stop')}
            </button>
          )}
        </>
      )}
      <Fault error={error} />
      {added && (
        <p class="note good" role="status">
          <Icon name="check" />
          <span>
            {t('{name} is added.', { name: added.name })}{' '}
            {added.tuning === 'none'
              ? t('It can be talked to, but not taught.')
              : added.tuning === 'ridge' && t('It can be taught by the first fit alone.')}
          </span>
        </p>
      )}
    </div>
  );
}

/** Whether the browser says that there is a network; it need not be right. */
export function useOnline(): boolean {
  const [online, setOnline] = useState(navigator.onLine);
  useEffect(() => {
    const look = () => setOnline(navigator.onLine);
    for (const event of ['online', 'offline']) addEventListener(event, look);
    return () => {
      for (const event of ['online', 'offline']) removeEventListener(event, look);
    };
  }, []);
  return online;
}

/** What a model takes here, in a line. */
function Suits({ advice, best }: { advice: ModelAdvice['models'][number]; best: boolean }) {
  const { memory, needsBytes, tokensPerSecond } = advice;
  const words = {
    enough: t('Takes about {size} of memory while it learns, which is free.', { size: size(needsBytes) }),
    tight: t('Takes about {size} of memory while it learns: close other apps first.', {
      size: size(needsBytes),
    }),
    lacking: t('Takes about {size} of memory while it learns, which this device does not have.', {
      size: size(needsBytes),
    }),
  }[memory];
  const speed =
    tokensPerSecond === undefined
      ? ''
      : ` ${t('Answers with up to {n} tokens a second.', { n: rate(tokensPerSecond) })}`;
  return (
    <p class="quiet">
      {best && <strong>{t('Suits this device best.')} </strong>}
      {words}
      {speed}
    </p>
  );
}

const rate = (tokens: number) => (tokens < 10 ? number(tokens, 1) : number(Math.round(tokens)));

/** A part of the settings. */
export function Models() {
  const advice = useAnswer<ModelAdvice>('/api/models/advice', ['models']);
  const { downloads, status } = useServer();
  const models = useList('models');
  const [deleting, setDeleting] = useState<ModelEntry>();
  return (
    <section class="sheet">
      <h2>{t('Models')}</h2>
      <p class="quiet">
        {t(
          'Downloading a model is the only thing that uses the network. Nothing of yours is sent. A model file (GGUF) that you have already needs none.',
        )}
      </p>
      <ModelFile />
      <Pending of={[models]} />
      <ul class="models">
        {models.data?.map((model) => (
          <li key={model.name}>
            <div class="model-head">
              <span>
                <strong>{model.title}</strong>
                {model.name === status?.model.name && <span class="chip">{t('default')}</span>}
                <br />
                <small class="quiet">{[size(model.size), model.licence?.name].filter(Boolean).join(' · ')}</small>
              </span>
              {model.installed && (
                <>
                  <span class="chip good">{t('installed')}</span>
                  <IconButton
                    icon="trash"
                    size={20}
                    label={t('Delete {title}', { title: model.title })}
                    onClick={() => setDeleting(model)}
                  />
                </>
              )}
            </div>
            {!model.installed &&
              advice.data?.models
                .filter(({ name }) => name === model.name)
                .map((one) => <Suits key={one.name} advice={one} best={one.name === advice.data?.best} />)}
            {model.problem !== null && (
              <Fault error={new ApiError(0, { message: capital(model.problem), code: 'damaged' })} />
            )}
            {!model.supported && !model.installed && (
              <p class="quiet">{t('This version of Loam does not support its architecture.')}</p>
            )}
            {!model.installed && model.supported && model.fetchable && (
              <ModelDownload model={model} download={downloads.get(model.name)} />
            )}
          </li>
        ))}
      </ul>
      {deleting && (
        <Confirm
          title={t('Delete {title}', { title: deleting.title })}
          verb={t('Delete')}
          danger
          onClose={() => setDeleting(undefined)}
          onConfirm={async () => {
            await call('DELETE', `/api/models/${encodeURIComponent(deleting.name)}`);
            tellChanged('models');
          }}
        >
          <p>
            {t('This frees {size}. Adapters made for it stay, and work again once it has been downloaded again.', {
              size: size(deleting.size),
            })}
          </p>
        </Confirm>
      )}
    </section>
  );
}
