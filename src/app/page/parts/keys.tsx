import { useState } from 'preact/hooks';
import type { ApiKey, NewApiKey } from '../../../serve/contract/access.js';
import { t } from '../../logic/language.js';
import { day } from '../../logic/words.js';
import { call } from '../api.js';
import { useDraft } from '../drafts.js';
import { tellChanged, useAction, useList } from '../server.js';
import { IconButton, Select, TextField } from './controls.js';
import { Confirm } from './dialogs.js';
import { Entry, Fault, Pending } from './layout.js';

/** A part of the settings: other programs that use the models here, each by a key of its own. */
export function OtherApps() {
  const keys = useList('keys');
  const adapters = useList('adapters');
  const { busy, error, run } = useAction();
  const [name, setName] = useDraft('key-name', '');
  const [adapter, setAdapter] = useState('');
  const [made, setMade] = useState<NewApiKey>();
  const [revoking, setRevoking] = useState<ApiKey>();
  const [copied, setCopied] = useState<string>();
  const address = `${location.origin}/v1`;
  const copy = async (text: string) => {
    await navigator.clipboard.writeText(text);
    setCopied(text);
  };
  const copyButton = (label: string, text: string) => (
    <button type="button" class="button small" onClick={() => void copy(text).catch(() => setCopied(undefined))}>
      {copied === text ? t('Copied') : label}
    </button>
  );
  const nameOf = (id: string) => adapters.data?.find((one) => one.id === id)?.name ?? t('an adapter that is gone');
  return (
    <section class="sheet">
      <h2>{t('Other apps')}</h2>
      <p>
        {t(
          'Chat apps that work with OpenAI’s API can use your models: enter this address and a key of their own. With it they can chat, and nothing else.',
        )}
      </p>
      <dl class="lineage">
        <Entry name={t('Address')}>
          <code>{address}</code>
        </Entry>
        {made && (
          <Entry name={t('Key “{name}”', { name: made.name })}>
            <code>{made.key}</code>
          </Entry>
        )}
      </dl>
      <div class="row">
        {copyButton(t('Copy the address'), address)}
        {made && copyButton(t('Copy the key'), made.key)}
      </div>
      {made && <p class="quiet">{t('Copy the key now: it is not shown again.')}</p>}
      <Pending of={[keys]} />
      <ul class="models">
        {keys.data?.map((key) => (
          <li key={key.id} class="model-head">
            <span>
              <strong>{key.name}</strong>
              <br />
              <small class="quiet">
                {[
                  key.scope === 'chat' ? t('chats') : t('chats, adds data, tunes'),
                  key.adapter && t('with {name} only', { name: nameOf(key.adapter) }),
                  t('made {day}', { day: day(key.createdAt) }),
                  key.usedOn ? t('last used {day}', { day: day(key.usedOn) }) : t('never used'),
                  key.endsAt && t('until {day}', { day: day(key.endsAt) }),
                ]
                  .filter(Boolean)
                  .join(' · ')}
              </small>
            </span>
            <IconButton
              icon="trash"
              size={20}
              label={t('Revoke {name}', { name: key.name })}
              onClick={() => setRevoking(key)}
            />
          </li>
        ))}
      </ul>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void run(async () => {
            const body = { name: name.trim(), ...(adapter && { adapter }) };
            setMade(await call<NewApiKey>('POST', '/api/keys', { body }));
            setName('');
            tellChanged('keys');
          });
        }}
      >
        <TextField label={t('Name of the app')} value={name} onInput={setName} maxLength={120} verbatim />
        <Select
          label={t('It talks to')}
          value={adapter}
          onChange={setAdapter}
          options={[
            { value: '', label: t('All models and adapters') },
            ...(adapters.data ?? []).map(({ id, name }) => ({ value: id, label: name })),
          ]}
        />
        <Fault error={error} />
        <button type="submit" class="button" disabled={busy || name.trim() === ''}>
          {t('Make a key')}
        </button>
      </form>
      {revoking && (
        <Confirm
          title={t('Revoke “{name}”', { name: revoking.name })}
          verb={t('Revoke')}
          danger
          onClose={() => setRevoking(undefined)}
          onConfirm={async () => {
            await call('DELETE', `/api/keys/${revoking.id}`);
            tellChanged('keys');
          }}
        >
          <p>{t('The app that uses this key is locked out at once.')}</p>
        </Confirm>
      )}
    </section>
  );
}
