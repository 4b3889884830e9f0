import { useRef, useState } from 'preact/hooks';
import type { Adapter, AdapterVersion } from '../../../serve/contract/adapters.js';
import { call, plural, size, upload, when } from '../api.js';
import { announce, go, href, replace } from '../browser.js';
import { tellChanged, useResource } from '../live.js';
import { useServer } from '../main.js';
import { Confirm } from '../parts/dialogs.js';
import { Field } from '../parts/fields.js';
import { Bar, Empty, Fault, Icon, Loading, Page } from '../parts/layout.js';
import { ExportDialog, VersionCard } from '../parts/version.js';

type Open =
  | { what: 'note' | 'export' | 'delete-version'; version: AdapterVersion }
  | { what: 'delete' | 'rename'; version?: undefined };

/** The versions of one adapter, newest on top, as layers that were laid on the bare model. */
export function AdapterScreen({ id }: { id: string }) {
  const { data, error, reload } = useResource(
    (signal) => call<{ adapters: Adapter[] }>('GET', '/api/adapters', { signal }),
    ['adapters'],
  );
  const [open, setOpen] = useState<Open>();
  const [failed, setFailed] = useState<Error>();
  const [text, setText] = useState('');
  const adapter = data?.adapters.find((one) => one.id === id);
  if (!data || !adapter) {
    return (
      <Page title="Adapter" back={href('adapters')}>
        <Fault error={error} onRetry={() => void reload()} />
        {!error && !data && <Loading />}
        {data && <p>This adapter is not here any more.</p>}
      </Page>
    );
  }
  const path = `/api/adapters/${id}`;
  const use = async (version: AdapterVersion | null) => {
    setFailed(undefined);
    try {
      await call('PATCH', path, { body: { active: version?.id ?? null } });
      tellChanged('adapters');
      announce(version ? `Version ${version.number} is in use` : 'The bare model is in use');
    } catch (caught) {
      setFailed(caught as Error);
    }
  };
  const change = (method: string, where: string, body: unknown) => async () => {
    await call(method, where, body === undefined ? undefined : { body });
    tellChanged('adapters');
  };
  const current = adapter.versions.find((version) => version.id === adapter.active);
  return (
    <Page
      title={adapter.name}
      back={href('adapters')}
      actions={
        <button
          type="button"
          class="icon-button"
          aria-label="Rename"
          onClick={() => {
            setText(adapter.name);
            setOpen({ what: 'rename' });
          }}
        >
          <Icon name="edit" />
        </button>
      }
    >
      <p class="quiet lead">For {adapter.model.name}</p>
      <Fault error={failed} />
      <ol class="layers" aria-label="Versions, newest first">
        {adapter.versions.map((version) => (
          <VersionCard
            key={version.id}
            version={version}
            parent={adapter.versions.find(({ id: other }) => other === version.parent)?.number}
            state={
              version.id === adapter.active ? 'used' : current && version.number < current.number ? 'older' : 'newer'
            }
            onUse={() => void use(version)}
            onNote={() => {
              setText(version.note ?? '');
              setOpen({ what: 'note', version });
            }}
            onExport={() => setOpen({ what: 'export', version })}
            onDelete={() => setOpen({ what: 'delete-version', version })}
          />
        ))}
        <li class={adapter.active === null ? 'layer bedrock used' : 'layer bedrock'}>
          <div class="layer-head">
            <h2>Bare model</h2>
            {adapter.active === null ? (
              <span class="chip good">in use</span>
            ) : (
              <button type="button" class="button small" onClick={() => void use(null)}>
                <Icon name="undo" size={18} /> Roll back to it
              </button>
            )}
          </div>
          <p class="quiet">Everything below your versions; it is never changed.</p>
        </li>
      </ol>
      <button type="button" class="link danger" onClick={() => setOpen({ what: 'delete' })}>
        Delete this adapter with all its versions
      </button>

      {open?.what === 'note' && (
        <Confirm
          title={`Note on version ${open.version.number}`}
          verb="Save"
          onClose={() => setOpen(undefined)}
          onConfirm={change('PATCH', `${path}/versions/${open.version.id}`, { note: text })}
        >
          <Field label="Note">
            {(ids) => <textarea {...ids} rows={4} value={text} onInput={(e) => setText(e.currentTarget.value)} />}
          </Field>
        </Confirm>
      )}
      {open?.what === 'rename' && (
        <Confirm
          title="Rename"
          verb="Rename"
          disabled={text.trim() === ''}
          onClose={() => setOpen(undefined)}
          onConfirm={change('PATCH', path, { name: text.trim() })}
        >
          <Field label="Name">
            {(ids) => (
              <input
                {...ids}
                type="text"
                maxLength={120}
                value={text}
                onInput={(e) => setText(e.currentTarget.value)}
              />
            )}
          </Field>
        </Confirm>
      )}
      {open?.what === 'export' && (
        <ExportDialog adapter={adapter} version={open.version} onClose={() => setOpen(undefined)} />
      )}
      {open?.what === 'delete-version' && (
        <Confirm
          title={`Delete version ${open.version.number}`}
          verb="Delete"
          danger
          onClose={() => setOpen(undefined)}
          onConfirm={async () => {
            await change('DELETE', `${path}/versions/${open.version.id}`, undefined)();
            if (adapter.versions.length === 1) replace('adapters');
          }}
        >
          <p>Its key is destroyed, so nobody can bring it back.</p>
          {adapter.versions.length === 1 && <p>It is the only version: the adapter goes with it.</p>}
        </Confirm>
      )}
      {open?.what === 'delete' && (
        <Confirm
          title={`Delete “${adapter.name}”`}
          verb="Delete"
          danger
          onClose={() => setOpen(undefined)}
          onConfirm={async () => {
            await change('DELETE', path, undefined)();
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
  const { data, error, reload } = useResource(
    (signal) => call<{ adapters: Adapter[] }>('GET', '/api/adapters', { signal }),
    ['adapters'],
  );
  const input = useRef<HTMLInputElement>(null);
  const [share, setShare] = useState<number>();
  const [failed, setFailed] = useState<Error>();
  const take = async (file: File) => {
    setFailed(undefined);
    setShare(0);
    try {
      const name = encodeURIComponent(file.name.replace(/\.gguf$/i, ''));
      const model = encodeURIComponent(status?.model.name ?? '');
      const path = `/api/adapters/import?name=${name}&model=${model}`;
      const made = await upload<AdapterVersion & { adapter: string }>(
        path,
        file,
        setShare,
        new AbortController().signal,
      );
      tellChanged('adapters');
      announce(`${file.name} is imported`);
      go('adapters', made.adapter);
    } catch (caught) {
      setFailed(caught as Error);
    }
    setShare(undefined);
  };
  return (
    <Page
      title="Adapters"
      actions={
        <button type="button" class="button" disabled={share !== undefined} onClick={() => input.current!.click()}>
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
      {share !== undefined && <Bar share={share < 1 ? share : undefined} label="Importing" />}
      <Fault error={failed} />
      <Fault error={error} onRetry={() => void reload()} />
      {!data && !error && <Loading />}
      {data?.adapters.length === 0 && (
        <Empty title="No adapters yet" sprout>
          <p>
            An adapter is what a model has learnt from you: a small file that lies beside the model and can be taken off
            again.
          </p>
          <a class="button primary" href={href('tune')}>
            <Icon name="tune" /> Tune
          </a>
        </Empty>
      )}
      <ul class="cards">
        {data?.adapters.map((adapter) => {
          const active = adapter.versions.find(({ id }) => id === adapter.active);
          const nll = (active ?? adapter.versions[0])?.metrics?.nll;
          return (
            <li key={adapter.id}>
              <a class="card" href={href('adapters', adapter.id)}>
                <span class="card-title">{adapter.name}</span>
                <span class="quiet">
                  {plural(adapter.versions.length, 'version')} · {adapter.model.name}
                  {adapter.versions[0] && ` · ${when(adapter.versions[0].createdAt)}`}
                </span>
                <span class="chips">
                  <span class={active ? 'chip good' : 'chip'}>
                    {active ? `version ${active.number} in use` : 'bare model in use'}
                  </span>
                  {nll && (
                    <span class="chip">
                      loss {nll.base.toFixed(2)} → {nll.adapted.toFixed(2)}
                    </span>
                  )}
                  <span class="chip">{size(adapter.versions.reduce((sum, one) => sum + one.bytes, 0))}</span>
                </span>
                <Icon name="next" />
              </a>
            </li>
          );
        })}
      </ul>
    </Page>
  );
}
