import { useState } from 'preact/hooks';
import { ApiError, call, getToken, setToken, tokenFrom } from '../api.js';
import { useServer } from '../main.js';
import { Field } from '../parts/fields.js';
import { Fault, Icon, Page } from '../parts/layout.js';
import { DestroyEverything } from './SettingsScreen.js';

/** The server does not know this browser: the link it printed is needed once. */
export function ConnectScreen() {
  const { reload } = useServer();
  const [text, setText] = useState('');
  const [failed, setFailed] = useState(false);
  const tried = getToken() !== null;
  const connect = async () => {
    setToken(tokenFrom(text));
    await reload();
    setFailed(true);
  };
  return (
    <Page title="Open Loam">
      <div class="narrow">
        <img class="hero-icon" src="/icons/icon.svg" alt="" width="84" height="84" />
        <p>
          Loam talks only to the person who started it. When it starts, <code>loam serve</code> prints a link: open that
          link here, or paste it.
        </p>
        <form
          class="stack"
          onSubmit={(event) => {
            event.preventDefault();
            void connect();
          }}
        >
          <Field
            label="Link or token"
            error={
              failed || (tried && text === '')
                ? 'The server does not accept the token it was given. It may have been started anew with another one.'
                : undefined
            }
          >
            {(ids) => (
              <input
                {...ids}
                type="text"
                value={text}
                onInput={(event) => {
                  setText(event.currentTarget.value);
                  setFailed(false);
                }}
                autocomplete="off"
                autocapitalize="off"
                spellcheck={false}
                placeholder="http://127.0.0.1:…/#token=…"
              />
            )}
          </Field>
          <button type="submit" class="button primary big" disabled={text.trim() === ''}>
            Connect
          </button>
        </form>
      </div>
    </Page>
  );
}

export function UnlockScreen() {
  const { reload } = useServer();
  const [passphrase, setPassphrase] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error>();
  const [destroying, setDestroying] = useState(false);
  const unlock = async () => {
    setBusy(true);
    setError(undefined);
    try {
      await call('POST', '/api/vault/unlock', { body: { passphrase } });
      await reload();
    } catch (caught) {
      setError(caught as Error);
      setBusy(false);
    }
  };
  const wrong = error instanceof ApiError && (error.status === 403 || error.status === 422);
  return (
    <Page title="Unlock Loam">
      <div class="narrow">
        <div class="hero-lock">
          <Icon name="lock" size={44} />
        </div>
        <p>Your data, conversations and adapters are encrypted with your passphrase.</p>
        <form
          class="stack"
          onSubmit={(event) => {
            event.preventDefault();
            void unlock();
          }}
        >
          <Field label="Passphrase" error={wrong ? error.message : undefined}>
            {(ids) => (
              <input
                {...ids}
                type="password"
                autocomplete="current-password"
                value={passphrase}
                onInput={(event) => setPassphrase(event.currentTarget.value)}
              />
            )}
          </Field>
          {!wrong && <Fault error={error} />}
          <button type="submit" class="button primary big" disabled={busy || passphrase === ''}>
            {busy ? 'Unlocking…' : 'Unlock'}
          </button>
        </form>
        <p class="quiet">
          Nobody can recover a lost passphrase.{' '}
          <button type="button" class="link danger" onClick={() => setDestroying(true)}>
            Delete everything and begin anew
          </button>
        </p>
      </div>
      {destroying && <DestroyEverything onClose={() => setDestroying(false)} />}
    </Page>
  );
}
