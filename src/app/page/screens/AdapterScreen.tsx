import { useState } from 'preact/hooks';
import type { AdapterVersion } from '../../../serve/contract/adapters.js';
import { number, plural, t } from '../../logic/language.js';
import { baseTitle } from '../../logic/speakers.js';
import { size, when } from '../../logic/words.js';
import { call, upload } from '../api.js';
import { announce, go, href, replace } from '../browser.js';
import { useDraft } from '../drafts.js';
import { IconButton, TextField, useFilePicker } from '../parts/controls.js';
import { Confirm, Rename } from '../parts/dialogs.js';
import { Bar, Card, Empty, Fault, Icon, Page, Pending } from '../parts/layout.js';
import { ExportDialog, TriedChip } from '../parts/memorised.js';
import { deleteLater } from '../parts/undo.js';
import { VersionCard } from '../parts/versions.js';
import { refresh, tellChanged, useAction, useList, useServer } from '../server.js';

type Open =
  | { what: 'note' | 'export' | 'delete-version'; version: AdapterVersion }
  | { what: 'delete' | 'rename'; version?: undefined };

/** The versions of one adapter, newest on top, as layers that were laid on the base model. */
export function AdapterScreen({ id }: { id: string }) {
  const adapters = useList('adapters');
  const models = useList('models');
  const [open, setOpen] = useState<Open>();
  const { error: failed, run } = useAction();
  const adapter = adapters.data?.find((one) => one.id === id);
  if (!adapter) {
    return (
      <Page title={t('Adapter')} back={href('adapters')}>
        <Pending of={[adapters]} />
        {adapters.data && <p>{t('This adapter no longer exists.')}</p>}
      </Page>
    );
  }
  const path = `/api/adapters/${id}`;
  const change = async (method: string, where: string, body?: object) => {
    await call(method, where, { body });
    await refresh('adapters');
  };
  const use = (version: AdapterVersion | null) =>
    run(async () => {
      await change('PATCH', path, { active: version?.id ?? null });
      announce(version ? t('Version {number} is in use', { number: version.number }) : t('No version is in use'));
    });
  const close = () => setOpen(undefined);
  const current = adapter.versions.find((version) => version.id === adapter.active);
  const alone = adapter.versions.length === 1;
  return (
    <Page
      title={adapter.name}
      back={href('adapters')}
      actions={<IconButton icon="edit" label={t('Rename')} onClick={() => setOpen({ what: 'rename' })} />}
    >
      <p class="quiet lead">
        {t('For {name}', { name: baseTitle(adapter, models.data ?? []) })}.{' '}
        {t('The version in use is the one that answers, and that learning goes on from.')}
      </p>
      <Fault error={failed} />
      <ol class="layers" aria-label={t('Versions, newest first')}>
        {adapter.versions.map((version) => (
          <VersionCard
            key={version.id}
            version={version}
            parent={adapter.versions.find(({ id: other }) => other === version.parent)?.number}
            state={version === current ? 'used' : current && version.number < current.number ? 'older' : 'newer'}
            onUse={() => void use(version)}
            onNote={() => setOpen({ what: 'note', version })}
            onExport={() => setOpen({ what: 'export', version })}
            onDelete={() => setOpen({ what: 'delete-version', version })}
          />
        ))}
        <li class={adapter.active === null ? 'layer bedrock used' : 'layer bedrock'}>
          <div class="layer-head">
            <h2>{t('Base model')}</h2>
            {adapter.active === null ? (
              <span class="chip">{t('no version in use')}</span>
            ) : (
              <button type="button" class="button small" onClick={() => void use(null)}>
                <Icon name="undo" size={18} /> {t('Use no version')}
              </button>
            )}
          </div>
          <p class="quiet">{t('What your versions are laid on; it is never changed.')}</p>
        </li>
      </ol>
      <button type="button" class="link danger" onClick={() => setOpen({ what: 'delete' })}>
        {t('Delete this adapter with all its versions')}
      </button>

      {open?.what === 'note' && (
        <EditNote
          version={open.version}
          onClose={close}
          onSave={(note) => change('PATCH', `${path}/versions/${open.version.id}`, { note })}
        />
      )}
      {open?.what === 'rename' && (
        <Rename id={id} name={adapter.name} onClose={close} onRename={(name) => change('PATCH', path, { name })} />
      )}
      {open?.what === 'export' && <ExportDialog adapter={adapter} version={open.version} onClose={close} />}
      {open?.what === 'delete-version' && (
        <Confirm
          title={t('Delete version {number}', { number: open.version.number })}
          verb={t('Delete')}
          danger
          onClose={close}
          onConfirm={async () => {
            if (alone) replace('adapters');
            const { version } = open;
            deleteLater(t('Version {number} is deleted', { number: version.number }), {
              ids: [version.id],
              path: `${path}/versions/${version.id}`,
            });
          }}
        >
          <p>{t('Its key is destroyed ten seconds later; after that nobody can restore it.')}</p>
          {alone && <p>{t('It is the only version: the adapter is deleted with it.')}</p>}
        </Confirm>
      )}
      {open?.what === 'delete' && (
        <Confirm
          title={t('Delete “{name}”', { name: adapter.name })}
          verb={t('Delete')}
          danger
          onClose={close}
          onConfirm={async () => {
            replace('adapters');
            deleteLater(t('“{name}” is deleted', { name: adapter.name }), { ids: [id], path });
          }}
        >
          <p>{t('All versions are destroyed with their keys, ten seconds later. The data sets stay.')}</p>
        </Confirm>
      )}
    </Page>
  );
}

function EditNote({
  version: { id, number, note = '' },
  onClose,
  onSave,
}: {
  version: AdapterVersion;
  onClose: () => void;
  onSave: (note: string) => Promise<void>;
}) {
  const [text, setText] = useDraft(`note/${id}`, note);
  return (
    <Confirm
      title={t('Note on version {number}', { number })}
      verb={t('Save')}
      onClose={onClose}
      onConfirm={async () => {
        await onSave(text);
        setText(note);
      }}
    >
      <TextField label={t('Note')} rows={4} value={text} onInput={setText} />
    </Confirm>
  );
}

export function AdaptersScreen() {
  const { status } = useServer();
  const adapters = useList('adapters');
  const models = useList('models');
  const [share, setShare] = useState(0);
  const { busy, error, run } = useAction();
  const take = (file: File) =>
    run(async () => {
      setShare(0);
      const name = encodeURIComponent(file.name.replace(/\.gguf$/i, ''));
      const model = encodeURIComponent(status?.model.name ?? '');
      const path = `/api/adapters/import?name=${name}&model=${model}`;
      const { signal } = new AbortController();
      const made = await upload<AdapterVersion & { adapter: string }>(path, file, setShare, signal);
      tellChanged('adapters');
      announce(t('{name} is imported', { name: file.name }));
      go('adapters', made.adapter);
    });
  const { input, pick } = useFilePicker(([file]) => void take(file!), { accept: '.gguf' });
  return (
    <Page
      title={t('Adapters')}
      actions={
        <button type="button" class="button" disabled={busy} onClick={pick}>
          <Icon name="import" /> {t('Import')}
        </button>
      }
    >
      {input}
      {busy && <Bar share={share < 1 ? share : undefined} label={t('Importing')} />}
      <Fault error={error} />
      <Pending of={[adapters]} />
      {adapters.data?.length === 0 && (
        <Empty title={t('No adapters yet')} sprout>
          <p>
            {t(
              'An adapter is what a model has learnt from you: a small file beside the model, which can be taken off again.',
            )}
          </p>
          <a class="button primary" href={href('tune')}>
            <Icon name="tune" /> {t('Tune')}
          </a>
        </Empty>
      )}
      <ul class="cards">
        {adapters.data?.map((adapter) => {
          const [newest] = adapter.versions;
          const active = adapter.versions.find(({ id }) => id === adapter.active);
          const nll = (active ?? newest)?.metrics?.nll;
          return (
            <Card
              key={adapter.id}
              to={href('adapters', adapter.id)}
              title={adapter.name}
              about={[
                plural(adapter.versions.length, '{n} version', '{n} versions'),
                baseTitle(adapter, models.data ?? []),
                newest && when(newest.createdAt),
              ]
                .filter(Boolean)
                .join(' · ')}
            >
              <span class={active ? 'chip good' : 'chip'}>
                {active ? t('version {number} in use', { number: active.number }) : t('no version in use')}
              </span>
              <TriedChip report={(active ?? newest)?.memorised} />
              {nll && (
                <span class="chip">
                  {t('loss {base} → {adapted}', { base: number(nll.base, 2), adapted: number(nll.adapted, 2) })}
                </span>
              )}
              <span class="chip">{size(adapter.versions.reduce((sum, one) => sum + one.bytes, 0))}</span>
            </Card>
          );
        })}
      </ul>
    </Page>
  );
}
