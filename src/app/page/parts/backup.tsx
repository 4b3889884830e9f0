import { useRef, useState } from 'preact/hooks';
import type { Restored } from '../../../serve/contract/server.js';
import { language, plural, t } from '../../logic/language.js';
import { weaknessOf } from '../../logic/passphrase.js';
import { ApiError, call, download } from '../api.js';
import { announce } from '../browser.js';
import { tellChanged, useServer } from '../server.js';
import { uploadFile } from '../uploads.js';
import { Check, TextField, useFilePicker } from './controls.js';
import { Confirm } from './dialogs.js';
import { Bar, Icon } from './layout.js';
import { PresentPassphrase } from './protection.js';

/** A part of the settings: everything of the person's as one encrypted file, out and in. */
export function Backups() {
  const [making, setMaking] = useState(false);
  const [file, setFile] = useState<File>();
  const { input, pick } = useFilePicker(([picked]) => setFile(picked), { label: t('Backup to restore') });
  return (
    <section class="sheet">
      <h2>{t('Backup')}</h2>
      <p>
        {t(
          'One encrypted file with your data sets, adapters, conversations and settings. Models are not in it, and a run that has not ended begins anew. What you delete later stays in backups made before.',
        )}
      </p>
      <div class="row">
        <button type="button" class="button" onClick={() => setMaking(true)}>
          <Icon name="export" /> {t('Make a backup')}
        </button>
        <button type="button" class="button" onClick={pick}>
          <Icon name="import" /> {t('Restore a backup')}
        </button>
      </div>
      {input}
      {making && <MakeBackup onClose={() => setMaking(false)} />}
      {file && <Restore file={file} onClose={() => setFile(undefined)} />}
    </section>
  );
}

/** Characters of a passphrase at least: what the command line asks for, too. */
const SHORTEST = 8;

function MakeBackup({ onClose }: { onClose: () => void }) {
  const guarded = useServer().status?.protection === 'passphrase';
  const [passphrase, setPassphrase] = useState('');
  const [again, setAgain] = useState('');
  const isShort = [...passphrase].length < SHORTEST;
  const field = { type: 'password', autocomplete: 'new-password' } as const;
  return (
    <Confirm
      title={t('Make a backup')}
      verb={t('Save the backup')}
      disabled={guarded ? passphrase === '' : isShort || again !== passphrase}
      onClose={onClose}
      onConfirm={async () => {
        const body = { passphrase, ...(guarded && { current: passphrase }) };
        await download('/api/vault/backup', 'loam.backup.age', { body });
        announce(t('The backup is saved'));
      }}
    >
      {guarded ? (
        <>
          <p>{t('The backup gets the passphrase that Loam has now. It keeps that one when you change it here.')}</p>
          <PresentPassphrase value={passphrase} onInput={setPassphrase} />
        </>
      ) : (
        <>
          <p>
            {t(
              'The backup needs a passphrase of its own. Nobody can read it without that, not even you: write it down.',
            )}
          </p>
          <TextField
            {...field}
            label={t('Passphrase of the backup')}
            hint={
              passphrase !== '' && isShort ? t('At least {n} characters.', { n: SHORTEST }) : weaknessOf(passphrase)
            }
            value={passphrase}
            onInput={setPassphrase}
          />
          <TextField
            {...field}
            label={t('Repeat it')}
            error={again !== '' && again !== passphrase ? t('The two do not match.') : undefined}
            value={again}
            onInput={setAgain}
          />
        </>
      )}
    </Confirm>
  );
}

function Restore({ file, onClose }: { file: File; onClose: () => void }) {
  const { status, reload } = useServer();
  const guarded = status?.protection === 'passphrase';
  const [passphrase, setPassphrase] = useState('');
  const [current, setCurrent] = useState('');
  /** What the server says would go, once it was asked. */
  const [goes, setGoes] = useState<string>();
  const [replace, setReplace] = useState(false);
  const [share, setShare] = useState<number>();
  const [abort] = useState(() => new AbortController());
  const sent = useRef<string | undefined>(undefined);
  const restore = async () => {
    try {
      setShare(0);
      sent.current ??= await uploadFile('backup', file, setShare, abort.signal);
      setShare(1);
      const body = { upload: sent.current, passphrase, replace, ...(guarded && replace && { current }) };
      const { datasets, adapters } = await call<Restored>('POST', '/api/vault/restore', { body });
      tellChanged();
      await reload();
      announce(
        t('Restored: {sets}, {adapters}', {
          sets: plural(datasets, '{n} data set', '{n} data sets'),
          adapters: plural(adapters, '{n} adapter', '{n} adapters'),
        }),
      );
    } catch (error) {
      const code = error instanceof ApiError ? error.code : undefined;
      if (code === 'confirm') setGoes((error as Error).message);
      // The server keeps the file only while something else is all that was wrong.
      else if (code !== 'wrong-passphrase' && code !== 'busy') sent.current = undefined;
      throw code === 'confirm' ? new Error(t('Say whether what is here may be replaced.')) : error;
    } finally {
      setShare(undefined);
    }
  };
  return (
    <Confirm
      title={t('Restore a backup')}
      verb={t('Restore')}
      danger={goes !== undefined}
      disabled={passphrase === '' || (goes !== undefined && (!replace || (guarded && current === '')))}
      onClose={() => {
        abort.abort();
        if (sent.current) void call('DELETE', `/api/uploads/${sent.current}`).catch(() => {});
        onClose();
      }}
      onConfirm={restore}
    >
      <p class="clamp">{file.name}</p>
      <p>{t('All of the file is checked before anything changes. Loam keeps the passphrase that it has here.')}</p>
      <TextField
        label={t('Passphrase of the backup')}
        type="password"
        autocomplete="off"
        value={passphrase}
        onInput={setPassphrase}
      />
      {share !== undefined && (
        <Bar
          share={share < 1 ? share : undefined}
          label={share < 1 ? t('Sending the file') : t('Checking and restoring')}
        />
      )}
      {goes !== undefined && (
        <>
          <Check checked={replace} onChange={setReplace} hint={language() === 'en' ? goes : undefined}>
            {t('Delete everything that is here, and put the backup in its place')}
          </Check>
          {guarded && replace && <PresentPassphrase value={current} onInput={setCurrent} />}
        </>
      )}
    </Confirm>
  );
}
