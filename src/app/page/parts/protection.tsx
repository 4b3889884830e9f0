import { useEffect, useState } from 'preact/hooks';
import { plural, t } from '../../logic/language.js';
import { weaknessOf } from '../../logic/passphrase.js';
import { call } from '../api.js';
import { announce } from '../browser.js';
import { useAction, useServer } from '../server.js';
import { Select, TextField } from './controls.js';
import { Confirm } from './dialogs.js';
import { Fault, Icon } from './layout.js';

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
    announce(passphrase === null ? t('Passphrase removed') : t('Passphrase set'));
  };
  const locking = useAction();
  const lock = async () => {
    await call('POST', '/api/vault/lock', { body: {} });
    await reload();
  };
  const title = guarded ? t('Change the passphrase') : t('Set a passphrase');
  const field = { type: 'password', autocomplete: 'new-password' } as const;
  const present = guarded && <PresentPassphrase value={current} onInput={setCurrent} />;
  return (
    <section class="sheet">
      <h2>
        <Icon name={guarded ? 'lock' : 'unlock'} /> {t('Protection')}
      </h2>
      <p>
        {guarded
          ? t(
              'Everything of yours is encrypted with a key that your passphrase unlocks. Someone who has the device but not the passphrase cannot read it while Loam is not running.',
            )
          : t(
              'Everything of yours is encrypted, but the key is kept in a file beside it. This protects what you delete, and copies made without the key; it does not protect against someone who can read your files.',
            )}
      </p>
      <div class="row">
        <button type="button" class="button" onClick={() => setOpen('set')}>
          {title}
        </button>
        {guarded && (
          <>
            <button type="button" class="button" onClick={() => setOpen('remove')}>
              {t('Remove it')}
            </button>
            <button type="button" class="button" disabled={locking.busy} onClick={() => void locking.run(lock)}>
              <Icon name="lock" size={18} /> {t('Lock now')}
            </button>
          </>
        )}
      </div>
      <Fault error={locking.error} />
      {guarded && <LockAfter />}
      {open === 'set' && (
        <Confirm
          title={title}
          verb={t('Set passphrase')}
          disabled={next === '' || next !== again || (guarded && current === '')}
          onClose={close}
          onConfirm={() => send(next)}
        >
          <p>
            {t('Use several words that you use nowhere else. Nobody can recover a lost passphrase: write it down.')}
          </p>
          {present}
          <TextField {...field} label={t('New passphrase')} hint={weaknessOf(next)} value={next} onInput={setNext} />
          <TextField
            {...field}
            label={t('Repeat it')}
            error={again !== '' && again !== next ? t('The two do not match.') : undefined}
            value={again}
            onInput={setAgain}
          />
        </Confirm>
      )}
      {open === 'remove' && (
        <Confirm
          title={t('Remove the passphrase')}
          verb={t('Remove')}
          danger
          disabled={current === ''}
          onClose={close}
          onConfirm={() => send(null)}
        >
          <p>
            {t(
              'The key will be kept in a file that only your user account can read. Anyone who can read your files can then read everything.',
            )}
          </p>
          {present}
        </Confirm>
      )}
    </section>
  );
}

/** Asked for again: whoever has the page open may not be whose data it is. */
export function PresentPassphrase(props: { value: string; onInput: (text: string) => void }) {
  return <TextField {...props} label={t('Passphrase now')} type="password" autocomplete="current-password" />;
}

/** Minutes that are offered. */
const offered = [1, 5, 15, 60, 240];

function LockAfter() {
  const { status, reload } = useServer();
  const { error, run } = useAction();
  const minutes = status?.lockMinutes ?? null;
  const all = [...new Set([...offered, ...(minutes === null ? [] : [minutes])])].sort((a, b) => a - b);
  const words = (n: number) =>
    n % 60 === 0 ? plural(n / 60, '{n} hour', '{n} hours') : plural(n, '{n} minute', '{n} minutes');
  return (
    <>
      <Select
        label={t('Lock by itself')}
        hint={t(
          'When nobody has used Loam for so long. While something is learnt or waits for its turn, it stays open, and it is locked after that.',
        )}
        value={minutes === null ? '' : String(minutes)}
        onChange={(next) =>
          void run(async () => {
            await call('POST', '/api/vault/idle', { body: { minutes: next === '' ? null : Number(next) } });
            await reload();
          })
        }
        options={[
          { value: '', label: t('Never') },
          ...all.map((n) => ({ value: String(n), label: t('After {time}', { time: words(n) }) })),
        ]}
      />
      <Fault error={error} />
    </>
  );
}

/** Milliseconds between two words to the server that somebody is here. */
const WORD = 20_000;

/** Whoever reads or types asks the server for nothing: it is told that somebody is here, if it would lock itself otherwise. */
export function usePresence(minutes: number | null | undefined): void {
  useEffect(() => {
    if (!minutes) return;
    let latest = performance.now();
    const tell = () => {
      if (performance.now() - latest < WORD) return;
      latest = performance.now();
      call('GET', '/api/status').catch(() => {});
    };
    const acts = ['pointerdown', 'keydown', 'wheel', 'touchmove'] as const;
    for (const act of acts) addEventListener(act, tell, { passive: true });
    return () => {
      for (const act of acts) removeEventListener(act, tell);
    };
  }, [minutes]);
}
