import { useRef, useState } from 'preact/hooks';
import type { Adapter, AdapterVersion } from '../../logic/types.js';
import { useServer } from '../App.js';
import { announce } from '../announce.js';
import { call, upload } from '../api.js';
import { tellChanged, useResource } from '../live.js';
import { Bar } from '../parts/Bar.js';
import { Empty } from '../parts/Empty.js';
import { Fault } from '../parts/Fault.js';
import { Icon } from '../parts/Icon.js';
import { Loading } from '../parts/Loading.js';
import { Page } from '../parts/Page.js';
import { plural, size, when } from '../readable.js';
import { go, href } from '../router.js';

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
