import { useState } from 'preact/hooks';
import { useServer } from '../App.js';
import { ApiError, call } from '../api.js';
import { DestroyEverything } from '../parts/DestroyEverything.js';
import { Fault } from '../parts/Fault.js';
import { Field } from '../parts/Field.js';
import { Icon } from '../parts/Icon.js';
import { Page } from '../parts/Page.js';

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
