import { useRef, useState } from 'preact/hooks';
import type { AdapterVersion } from '../../../serve/contract/adapters.js';
import { plural, size, when } from '../../logic/words.js';
import { call, upload } from '../api.js';
import { announce, go, href, replace } from '../browser.js';
import { IconButton, TextField } from '../parts/controls.js';
import { Confirm, Rename } from '../parts/dialogs.js';
import { Bar, Card, Empty, Fault, Icon, Page, Pending } from '../parts/layout.js';
import { ExportDialog, VersionCard } from '../parts/versions.js';
import { tellChanged, useAction, useList, useServer } from '../server.js';

type Open =
  | { what: 'note' | 'export' | 'delete-version'; version: AdapterVersion }
  | { what: 'delete' | 'rename'; version?: undefined };

/** The versions of one adapter, newest on top, as layers that were laid on the base model. */
export function AdapterScreen({ id }: { id: string }) {
  const adapters = useList('adapters');
  const [open, setOpen] = useState<Open>();
  const [note, setNote] = useState('');
  const { error: failed, run } = useAction();
  const adapter = adapters.data?.find((one) => one.id === id);
  if (!adapter) {
    return (
      <Page title="Adapter" back={href('adapters')}>
        <Pending of={[adapters]} />
        {adapters.data && <p>This adapter no longer exists.</p>}
      </Page>
    );
  }
  const path = `/api/adapters/${id}`;
  const change = async (method: string, where: string, body?: object) => {
    await call(method, where, { body });
    tellChanged('adapters');
  };
  const use = (version: AdapterVersion | null) =>
    run(async () => {
      await change('PATCH', path, { active: version?.id ?? null });
      announce(version ? `Version ${version.number} is in use` : 'The base model is in use');
    });
  const close = () => setOpen(undefined);
  const current = adapter.versions.find((version) => version.id === adapter.active);
  const alone = adapter.versions.length === 1;
  return (
    <Page
      title={adapter.name}
      back={href('adapters')}
      actions={<IconButton icon="edit" label="Rename" onClick={() => setOpen({ what: 'rename' })} />}
    >
      <p class="quiet lead">For {adapter.model.name}</p>
      <Fault error={failed} />
      <ol class="layers" aria-label="Versions, newest first">
        {adapter.versions.map((version) => (
          <VersionCard
            key={version.id}
            version={version}
            parent={adapter.versions.find(({ id: other }) => other === version.parent)?.number}
            state={version === current ? 'used' : current && version.number < current.number ? 'older' : 'newer'}
            onUse={() => void use(version)}
            onNote={() => {
              setNote(version.note ?? '');
              setOpen({ what: 'note', version });
            }}
            onExport={() => setOpen({ what: 'export', version })}
            onDelete={() => setOpen({ what: 'delete-version', version })}
          />
        ))}
        <li class={adapter.active === null ? 'layer bedrock used' : 'layer bedrock'}>
          <div class="layer-head">
            <h2>Base model</h2>
            {adapter.active === null ? (
              <span class="chip good">in use</span>
            ) : (
              <button type="button" class="button small" onClick={() => void use(null)}>
                <Icon name="undo" size={18} /> Roll back to it
              </button>
            )}
          </div>
          <p class="quiet">What your versions are laid on; it is never changed.</p>
        </li>
      </ol>
      <button type="button" class="link danger" onClick={() => setOpen({ what: 'delete' })}>
        Delete this adapter with all its versions
      </button>

      {open?.what === 'note' && (
        <Confirm
          title={`Note on version ${open.version.number}`}
          verb="Save"
          onClose={close}
          onConfirm={() => change('PATCH', `${path}/versions/${open.version.id}`, { note })}
        >
          <TextField label="Note" rows={4} value={note} onInput={setNote} />
        </Confirm>
      )}
      {open?.what === 'rename' && (
        <Rename name={adapter.name} onClose={close} onRename={(name) => change('PATCH', path, { name })} />
      )}
      {open?.what === 'export' && <ExportDialog adapter={adapter} version={open.version} onClose={close} />}
      {open?.what === 'delete-version' && (
        <Confirm
          title={`Delete version ${open.version.number}`}
          verb="Delete"
          danger
          onClose={close}
          onConfirm={async () => {
            await change('DELETE', `${path}/versions/${open.version.id}`);
            if (alone) replace('adapters');
          }}
        >
          <p>Its key is destroyed, so nobody can restore it.</p>
          {alone && <p>It is the only version: the adapter is deleted with it.</p>}
        </Confirm>
      )}
      {open?.what === 'delete' && (
        <Confirm
          title={`Delete “${adapter.name}”`}
          verb="Delete"
          danger
          onClose={close}
          onConfirm={async () => {
            await change('DELETE', path);
            replace('adapters');
          }}
        >
          <p>All versions are destroyed with their keys. The data sets stay.</p>
        </Confirm>
      )}
    </Page>
  );
}

export function AdaptersScreen() {
  const { status } = useServer();
  const adapters = useList('adapters');
  const input = useRef<HTMLInputElement>(null);
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
      announce(`${file.name} is imported`);
      go('adapters', made.adapter);
    });
  return (
    <Page
      title="Adapters"
      actions={
        <button type="button" class="button" disabled={busy} onClick={() => input.current!.click()}>
          <Icon name="import" /> Import
        </button>
      }
    >
      <input
        ref={input}
        type="file"
        hidden
        accept=".gguf"
        onChange={(event) => {
          const file = event.currentTarget.files?.[0];
          event.currentTarget.value = '';
          if (file) void take(file);
        }}
      />
      {busy && <Bar share={share < 1 ? share : undefined} label="Importing" />}
      <Fault error={error} />
      <Pending of={[adapters]} />
      {adapters.data?.length === 0 && (
        <Empty title="No adapters yet" sprout>
          <p>
            An adapter is what a model has learnt from you: a small file beside the model, which can be taken off again.
          </p>
          <a class="button primary" href={href('tune')}>
            <Icon name="tune" /> Tune
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
              about={[plural(adapter.versions.length, 'version'), adapter.model.name, newest && when(newest.createdAt)]
                .filter(Boolean)
                .join(' · ')}
            >
              <span class={active ? 'chip good' : 'chip'}>
                {active ? `version ${active.number} in use` : 'base model in use'}
              </span>
              {nll && (
                <span class="chip">
                  loss {nll.base.toFixed(2)} → {nll.adapted.toFixed(2)}
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
