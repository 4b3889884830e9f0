import { useEffect, useState } from 'preact/hooks';
import { rich, t } from '../../logic/language.js';
import { sayFault } from '../../logic/said.js';
import { acceptOffer, NotOurs, pair, pairingState } from '../access.js';
import { ApiError, call } from '../api.js';
import { go } from '../browser.js';
import { TextField } from '../parts/controls.js';
import { Confirm } from '../parts/dialogs.js';
import { Fault, Icon, Page } from '../parts/layout.js';
import { PresentPassphrase } from '../parts/protection.js';
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
  const failed =
    error instanceof NotOurs
      ? t('This link is not one of the program that answers here.')
      : error && sayFault(error).text;
  return (
    <Page title={t('Open Loam')}>
      <div class="narrow">
        <img class="hero-icon" src="/icons/icon.svg" alt="" width="84" height="84" />
        {state?.paired ? (
          <p>
            <strong>{t('What answers here is not the Loam that this browser knows.')}</strong>{' '}
            {t(
              'It was started with a new link, or another program has its place; nothing of yours was sent to it. If you have just started Loam yourself, open the link that it printed, or paste it.',
            )}
          </p>
        ) : (
          <p>
            {rich(
              'Loam talks only to the person who started it. When it starts, {command} prints a link: open that link here, or paste it.',
              { command: <code>loam serve</code> },
            )}
          </p>
        )}
        {state?.offered && state.paired && (
          <button type="button" class="button" disabled={busy} onClick={() => connect(acceptOffer)}>
            {t('Use the link that I opened')}
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
            label={t('Link or token')}
            error={failed}
            value={text}
            onInput={setText}
            placeholder="http://127.0.0.1:…/#token=…"
            verbatim
          />
          <button type="submit" class="button primary big" disabled={busy || text.trim() === ''}>
            {t('Connect')}
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
    <Page title={t('Unlock Loam')}>
      <div class="narrow">
        <div class="hero-lock">
          <Icon name="lock" size={44} />
        </div>
        <p>{t('Your data, conversations and adapters are encrypted with your passphrase.')}</p>
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
            label={t('Passphrase')}
            error={wrong ? sayFault(error).text : undefined}
            type="password"
            autocomplete="current-password"
            value={passphrase}
            onInput={setPassphrase}
          />
          {!wrong && <Fault error={error} />}
          <button type="submit" class="button primary big" disabled={busy || passphrase === ''}>
            {busy ? t('Unlocking…') : t('Unlock')}
          </button>
        </form>
        <p class="quiet">
          {rich(
            'Nobody can recover a lost passphrase. To delete everything and start over, stop Loam and run {command}.',
            { command: <code>loam vault destroy</code> },
          )}
        </p>
      </div>
    </Page>
  );
}

const words = () => t('delete everything');

/** Asks for the words to be typed, and for the passphrase. */
export function DestroyEverything({ onClose }: { onClose: () => void }) {
  const { reload, status } = useServer();
  const [typed, setTyped] = useState('');
  const [passphrase, setPassphrase] = useState('');
  const guarded = status?.protection === 'passphrase';
  return (
    <Confirm
      title={t('Delete everything')}
      verb={t('Delete everything')}
      danger
      disabled={typed.trim().toLowerCase() !== words().toLowerCase() || (guarded && passphrase === '')}
      onClose={onClose}
      onConfirm={async () => {
        await call('POST', '/api/vault/destroy', {
          body: { confirm: 'delete everything', ...(guarded && { passphrase }) },
        });
        tellChanged('datasets', 'adapters', 'conversations', 'jobs');
        await reload();
        go();
      }}
    >
      <p>
        {t(
          'All data sets, adapters, conversations and runs are destroyed with their keys. Nobody can restore them, not even you. Downloaded models stay.',
        )}
      </p>
      {guarded && <PresentPassphrase value={passphrase} onInput={setPassphrase} />}
      <TextField label={t('Type “{words}” to confirm', { words: words() })} value={typed} onInput={setTyped} verbatim />
    </Confirm>
  );
}
