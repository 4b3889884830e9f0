import { useState } from 'preact/hooks';
import type { ApiKey, NewApiKey } from '../../../serve/contract/access.js';
import { call } from '../api.js';
import { tellChanged, useAction, useList } from '../server.js';
import { IconButton, Select, TextField } from './controls.js';
import { Confirm } from './dialogs.js';
import { Entry, Fault, Pending } from './layout.js';

/** A part of the settings: other programs that use the models here, each by a key of its own. */
export function OtherApps() {
  const keys = useList('keys');
  const adapters = useList('adapters');
  const { busy, error, run } = useAction();
  const [name, setName] = useState('');
  const [adapter, setAdapter] = useState('');
  const [made, setMade] = useState<NewApiKey>();
  const [revoking, setRevoking] = useState<ApiKey>();
  const [copied, setCopied] = useState<string>();
  const address = `${location.origin}/v1`;
  const copy = async (text: string) => {
    await navigator.clipboard.writeText(text);
    setCopied(text);
  };
  const copyButton = (what: string, text: string) => (
    <button type="button" class="button small" onClick={() => void copy(text).catch(() => setCopied(undefined))}>
      {copied === text ? 'Copied' : `Copy the ${what}`}
    </button>
  );
  const nameOf = (id: string) => adapters.data?.find((one) => one.id === id)?.name ?? 'an adapter that is gone';
  return (
    <section class="sheet">
      <h2>Other apps</h2>
      <p>
        Chat apps that work with OpenAI’s API can use your models: enter this address and a key of their own. With it
        they can chat, and nothing else.
      </p>
      <dl class="lineage">
        <Entry name="Address">
          <code>{address}</code>
        </Entry>
        {made && (
          <Entry name={`Key “${made.name}”`}>
            <code>{made.key}</code>
          </Entry>
        )}
      </dl>
      <div class="row">
        {copyButton('address', address)}
        {made && copyButton('key', made.key)}
      </div>
      {made && <p class="quiet">Copy the key now: it is not shown again.</p>}
      <Pending of={[keys]} />
      <ul class="models">
        {keys.data?.map((key) => (
          <li key={key.id} class="model-head">
            <span>
              <strong>{key.name}</strong>
              <br />
              <small class="quiet">
                {[
                  key.scope === 'chat' ? 'chats' : 'chats, adds data, tunes',
                  key.adapter && `with ${nameOf(key.adapter)} only`,
                  `made ${key.createdAt.slice(0, 10)}`,
                  key.usedOn ? `last used ${key.usedOn}` : 'never used',
                  key.endsAt && `until ${key.endsAt.slice(0, 10)}`,
                ]
                  .filter(Boolean)
                  .join(' · ')}
              </small>
            </span>
            <IconButton icon="trash" size={20} label={`Revoke ${key.name}`} onClick={() => setRevoking(key)} />
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
        <TextField label="Name of the app" value={name} onInput={setName} maxLength={120} verbatim />
        <Select
          label="It talks to"
          value={adapter}
          onChange={setAdapter}
          options={[
            { value: '', label: 'All models and adapters' },
            ...(adapters.data ?? []).map(({ id, name }) => ({ value: id, label: name })),
          ]}
        />
        <Fault error={error} />
        <button type="submit" class="button" disabled={busy || name.trim() === ''}>
          Make a key
        </button>
      </form>
      {revoking && (
        <Confirm
          title={`Revoke “${revoking.name}”`}
          verb="Revoke"
          danger
          onClose={() => setRevoking(undefined)}
          onConfirm={async () => {
            await call('DELETE', `/api/keys/${revoking.id}`);
            tellChanged('keys');
          }}
        >
          <p>The app that uses this key is locked out at once.</p>
        </Confirm>
      )}
    </section>
  );
}
