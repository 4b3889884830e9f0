import { useEffect, useState } from 'preact/hooks';
import { acceptOffer, NotOurs, pair, pairingState } from '../access.js';
import { ApiError, call } from '../api.js';
import { announce, go } from '../browser.js';
import { TextField } from '../parts/controls.js';
import { Confirm } from '../parts/dialogs.js';
import { Fault, Icon, Page } from '../parts/layout.js';
import { tellChanged, useAction, useResource, useServer } from '../server.js';

/** What keeps others out: the link that a browser needs once, the passphrase of the vault; and the last resort, deleting everything. */

/** This browser is not paired with what answers: the link that the server printed is needed. */
export function ConnectScreen() {
  const { reload } = useServer();
  const [text, setText] = useState('');
  const { data: state, reload: look } = useResource(pairingState);
  // A link that is followed while this is shown brings a pairing.
  useEffect(() => {
    addEventListener('loam-retry', look);
    return () => removeEventListener('loam-retry', look);
  }, []);
  const { busy, error, run } = useAction();
  const connect = (begin: () => Promise<unknown>) =>
    void run(async () => {
      await begin();
      await reload();
    });
  const failed = error instanceof NotOurs ? 'This link is not one of the program that answers here.' : error?.message;
  return (
    <Page title="Open Loam">
      <div class="narrow">
        <img class="hero-icon" src="/icons/icon.svg" alt="" width="84" height="84" />
        {state?.paired ? (
          <p>
            <strong>What answers here is not the Loam that this browser knows.</strong> It was started with a new link,
            or another program has its place; nothing of yours was sent to it. If you have just started Loam yourself,
            open the link that it printed, or paste it.
          </p>
        ) : (
          <p>
            Loam talks only to the person who started it. When it starts, <code>loam serve</code> prints a link: open
            that link here, or paste it.
          </p>
        )}
        {state?.offered && state.paired && (
          <button type="button" class="button" disabled={busy} onClick={() => connect(acceptOffer)}>
            Use the link that I opened
          </button>
        )}
        <form
          class="stack"
          onSubmit={(event) => {
            event.preventDefault();
            connect(() => pair(text));
          }}
        >
          <TextField
            label="Link or token"
            error={failed}
            value={text}
            onInput={setText}
            placeholder="http://127.0.0.1:…/#token=…"
            verbatim
          />
          <button type="submit" class="button primary big" disabled={busy || text.trim() === ''}>
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
          Nobody can recover a lost passphrase. To delete everything and start over, stop Loam and run{' '}
          <code>loam vault destroy</code>.
        </p>
      </div>
    </Page>
  );
}

/** A part of the settings: what protects the vault, said plainly, and how to change it. */
export function Protection() {
  const { status, reload } = useServer();
  const [open, setOpen] = useState<'set' | 'remove'>();
  const [next, setNext] = useState('');
  const [again, setAgain] = useState('');
  const [current, setCurrent] = useState('');
  const guarded = status?.protection === 'passphrase';
  const close = () => {
    setOpen(undefined);
    setNext('');
    setAgain('');
    setCurrent('');
  };
  const send = async (passphrase: string | null) => {
    await call('POST', '/api/vault/passphrase', { body: { next: passphrase, ...(guarded && { current }) } });
    await reload();
    announce(passphrase === null ? 'Passphrase removed' : 'Passphrase set');
  };
  const title = guarded ? 'Change the passphrase' : 'Set a passphrase';
  const field = { type: 'password', autocomplete: 'new-password' } as const;
  const present = guarded && <PresentPassphrase value={current} onInput={setCurrent} />;
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
          disabled={next === '' || next !== again || (guarded && current === '')}
          onClose={close}
          onConfirm={() => send(next)}
        >
          <p>Use several words that you use nowhere else. Nobody can recover a lost passphrase: write it down.</p>
          {present}
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
        <Confirm
          title="Remove the passphrase"
          verb="Remove"
          danger
          disabled={current === ''}
          onClose={close}
          onConfirm={() => send(null)}
        >
          <p>
            The key will be kept in a file that only your user account can read. Anyone who can read your files can then
            read everything.
          </p>
          {present}
        </Confirm>
      )}
    </section>
  );
}

/** Asked for again: whoever has the page open may not be whose data it is. */
function PresentPassphrase(props: { value: string; onInput: (text: string) => void }) {
  return <TextField {...props} label="Passphrase now" type="password" autocomplete="current-password" />;
}

const words = 'delete everything';

/** Asks for the words to be typed, and for the passphrase. */
export function DestroyEverything({ onClose }: { onClose: () => void }) {
  const { reload, status } = useServer();
  const [typed, setTyped] = useState('');
  const [passphrase, setPassphrase] = useState('');
  const guarded = status?.protection === 'passphrase';
  return (
    <Confirm
      title="Delete everything"
      verb="Delete everything"
      danger
      disabled={typed.trim().toLowerCase() !== words || (guarded && passphrase === '')}
      onClose={onClose}
      onConfirm={async () => {
        await call('POST', '/api/vault/destroy', { body: { confirm: words, ...(guarded && { passphrase }) } });
        tellChanged('datasets', 'adapters', 'conversations', 'jobs');
        await reload();
        go();
      }}
    >
      <p>
        All data sets, adapters, conversations and runs are destroyed with their keys. Nobody can restore them, not even
        you. Downloaded models stay.
      </p>
      {guarded && <PresentPassphrase value={passphrase} onInput={setPassphrase} />}
      <TextField label={`Type “${words}” to confirm`} value={typed} onInput={setTyped} verbatim />
    </Confirm>
  );
}
