import { useState } from 'preact/hooks';
import { call } from '../api.js';
import { announce } from '../browser.js';
import { useServer } from '../main.js';
import { Confirm } from './dialogs.js';
import { Field } from './fields.js';
import { Icon } from './layout.js';

/** What protects the vault, said plainly, and how to change it. */
export function Passphrase() {
  const { status, reload } = useServer();
  const [open, setOpen] = useState<'set' | 'remove'>();
  const [next, setNext] = useState('');
  const [again, setAgain] = useState('');
  const guarded = status?.protection === 'passphrase';
  const close = () => {
    setOpen(undefined);
    setNext('');
    setAgain('');
  };
  const send = async (passphrase: string | null) => {
    await call('POST', '/api/vault/passphrase', { body: { next: passphrase } });
    await reload();
    announce(passphrase === null ? 'The passphrase is removed' : 'The passphrase is set');
  };
  return (
    <section class="sheet">
      <h2>
        <Icon name={guarded ? 'lock' : 'unlock'} /> Protection
      </h2>
      <p>
        {guarded
          ? 'Everything of yours is encrypted with a key that your passphrase opens. Who has the device but not the passphrase cannot read it while Loam is not running.'
          : 'Everything of yours is encrypted, but the key lies in a file beside it. That protects what is deleted and what is copied without the key; it does not protect against someone who can read your files.'}
      </p>
      <div class="row">
        <button type="button" class="button" onClick={() => setOpen('set')}>
          {guarded ? 'Change the passphrase' : 'Set a passphrase'}
        </button>
        {guarded && (
          <button type="button" class="button" onClick={() => setOpen('remove')}>
            Remove it
          </button>
        )}
      </div>
      {open === 'set' && (
        <Confirm
          title={guarded ? 'Change the passphrase' : 'Set a passphrase'}
          verb="Set it"
          disabled={next === '' || next !== again}
          onClose={close}
          onConfirm={() => send(next)}
        >
          <p>Several words that you do not use elsewhere. Nobody can recover it: write it down.</p>
          <Field label="New passphrase">
            {(ids) => (
              <input
                {...ids}
                type="password"
                autocomplete="new-password"
                value={next}
                onInput={(event) => setNext(event.currentTarget.value)}
              />
            )}
          </Field>
          <Field label="Once more" error={again !== '' && again !== next ? 'The two differ.' : undefined}>
            {(ids) => (
              <input
                {...ids}
                type="password"
                autocomplete="new-password"
                value={again}
                onInput={(event) => setAgain(event.currentTarget.value)}
              />
            )}
          </Field>
        </Confirm>
      )}
      {open === 'remove' && (
        <Confirm title="Remove the passphrase" verb="Remove" danger onClose={close} onConfirm={() => send(null)}>
          <p>
            The key will lie in a file that only your user may read. Who can read your files can then read everything.
          </p>
        </Confirm>
      )}
    </section>
  );
}
