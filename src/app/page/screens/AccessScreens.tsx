import { useState } from 'preact/hooks';
import { ApiError, call, getToken, setToken, tokenFrom } from '../api.js';
import { announce, go } from '../browser.js';
import { TextField } from '../parts/controls.js';
import { Confirm } from '../parts/dialogs.js';
import { Fault, Icon, Page } from '../parts/layout.js';
import { tellChanged, useAction, useServer } from '../server.js';

/** What keeps others out: the token that a browser needs once, the passphrase of the vault; and the last resort, deleting everything. */

/** The server does not know this browser: the link it printed is needed once. */
export function ConnectScreen() {
  const { reload } = useServer();
  const [text, setText] = useState('');
  const [failed, setFailed] = useState(getToken() !== null);
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
          <TextField
            label="Link or token"
            error={
              failed
                ? 'The server did not accept this browser’s token. It may have been restarted with a new one.'
                : undefined
            }
            value={text}
            onInput={(next) => {
              setText(next);
              setFailed(false);
            }}
            placeholder="http://127.0.0.1:…/#token=…"
            verbatim
          />
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
  const [destroying, setDestroying] = useState(false);
  const { busy, error, run } = useAction();
  const wrong = error instanceof ApiError && error.code === 'wrong-passphrase';
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
            void run(async () => {
              await call('POST', '/api/vault/unlock', { body: { passphrase } });
              await reload();
            });
          }}
        >
          <TextField
            label="Passphrase"
            error={wrong ? error.message : undefined}
            type="password"
            autocomplete="current-password"
            value={passphrase}
            onInput={setPassphrase}
          />
          {!wrong && <Fault error={error} />}
          <button type="submit" class="button primary big" disabled={busy || passphrase === ''}>
            {busy ? 'Unlocking…' : 'Unlock'}
          </button>
        </form>
        <p class="quiet">
          Nobody can recover a lost passphrase.{' '}
          <button type="button" class="link danger" onClick={() => setDestroying(true)}>
            Delete everything and start over
          </button>
        </p>
      </div>
      {destroying && <DestroyEverything onClose={() => setDestroying(false)} />}
    </Page>
  );
}

/** A part of the settings: what protects the vault, said plainly, and how to change it. */
export function Protection() {
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
    announce(passphrase === null ? 'Passphrase removed' : 'Passphrase set');
  };
  const title = guarded ? 'Change the passphrase' : 'Set a passphrase';
  const field = { type: 'password', autocomplete: 'new-password' } as const;
  return (
    <section class="sheet">
      <h2>
        <Icon name={guarded ? 'lock' : 'unlock'} /> Protection
      </h2>
      <p>
        {guarded
          ? 'Everything of yours is encrypted with a key that your passphrase unlocks. Someone who has the device but not the passphrase cannot read it while Loam is not running.'
          : 'Everything of yours is encrypted, but the key is kept in a file beside it. This protects what you delete, and copies made without the key; it does not protect against someone who can read your files.'}
      </p>
      <div class="row">
        <button type="button" class="button" onClick={() => setOpen('set')}>
          {title}
        </button>
        {guarded && (
          <button type="button" class="button" onClick={() => setOpen('remove')}>
            Remove it
          </button>
        )}
      </div>
      {open === 'set' && (
        <Confirm
          title={title}
          verb="Set passphrase"
          disabled={next === '' || next !== again}
          onClose={close}
          onConfirm={() => send(next)}
        >
          <p>Use several words that you use nowhere else. Nobody can recover a lost passphrase: write it down.</p>
          <TextField {...field} label="New passphrase" value={next} onInput={setNext} />
          <TextField
            {...field}
            label="Repeat it"
            error={again !== '' && again !== next ? 'The two do not match.' : undefined}
            value={again}
            onInput={setAgain}
          />
        </Confirm>
      )}
      {open === 'remove' && (
        <Confirm title="Remove the passphrase" verb="Remove" danger onClose={close} onConfirm={() => send(null)}>
          <p>
            The key will be kept in a file that only your user account can read. Anyone who can read your files can then
            read everything.
          </p>
        </Confirm>
      )}
    </section>
  );
}

const words = 'delete everything';

/** Asks for the words to be typed. */
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
        tellChanged('datasets', 'adapters', 'conversations', 'jobs');
        await reload();
        go();
      }}
    >
      <p>
        All data sets, adapters, conversations and runs are destroyed with their keys. Nobody can restore them, not even
        you. Downloaded models stay.
      </p>
      <TextField label={`Type “${words}” to confirm`} value={typed} onInput={setTyped} verbatim />
    </Confirm>
  );
}
