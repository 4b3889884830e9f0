import { useState } from 'preact/hooks';
import type { Adapter, AdapterVersion, Memorised } from '../../../serve/contract/adapters.js';
import { ApiError, call, capital, download, plural, size, when } from '../api.js';
import { href } from '../browser.js';
import { tellChanged, useResource } from '../live.js';
import { Confirm } from './dialogs.js';
import { Choice } from './fields.js';
import { Fault, Icon } from './layout.js';

/** What the adapter was found to know by heart, in a sentence and, where there is something, as a list. */
function MemorisedNote({ version }: { version: AdapterVersion }) {
  const report = version.memorised;
  if (!report) return <p class="quiet">Not yet tried for what it knows by heart.</p>;
  const bad = report.results.filter(({ verdict }) => verdict === 'reproduced' || verdict === 'likely');
  return (
    <div class={bad.length > 0 ? 'note bad' : 'note good'}>
      <Icon name={bad.length > 0 ? 'warn' : 'shield'} />
      <div>
        <p>{sentenceOf(report)}</p>
        {bad.length > 0 && (
          <ul class="remarks">
            {bad.slice(0, 8).map(({ id, label, preview, verdict }) => (
              <li key={id}>
                <strong>{capital(label)}</strong> {preview}{' '}
                <span class="quiet">
                  {verdict === 'reproduced' ? 'written word for word' : 'far likelier than chance'}
                </span>
              </li>
            ))}
          </ul>
        )}
      </div>
    </div>
  );
}

function sentenceOf({ findings, probed, verdicts }: Memorised): string {
  if (findings === 0) return 'No private details were found in what it learnt from, so there was nothing to try.';
  if (verdicts.reproduced > 0) {
    return `It writes ${plural(verdicts.reproduced, 'private detail')} of its examples word for word. Whoever has the adapter can get at them.`;
  }
  if (verdicts.likely > 0) {
    return `It did not write a private detail out, but ${plural(verdicts.likely, 'of them is', 'of them are')} far likelier to it than chance.`;
  }
  return `It was tried with ${plural(probed, 'private detail')} of its examples and reproduced none. That is no proof that it never will.`;
}

interface Props {
  version: AdapterVersion;
  /** Number of the version it began with. */
  parent?: number;
  state: 'used' | 'older' | 'newer';
  onUse: () => void;
  onNote: () => void;
  onExport: () => void;
  onDelete: () => void;
}

export function VersionCard({ version, parent, state, onUse, onNote, onExport, onDelete }: Props) {
  const { metrics, datasets, recipe, imported } = version;
  const names = datasets.map(({ name, deleted }) => name ?? (deleted ? 'a deleted set' : 'a file'));
  const settings = Object.entries(recipe ?? {}).filter(([, value]) => value !== undefined && value !== null);
  return (
    <li class={state === 'used' ? 'layer used' : 'layer'}>
      <div class="layer-head">
        <h2>Version {version.number}</h2>
        {state === 'used' ? (
          <span class="chip good">in use</span>
        ) : (
          <button type="button" class="button small" onClick={onUse}>
            {state === 'older' ? (
              <>
                <Icon name="undo" size={18} /> Roll back to it
              </>
            ) : (
              'Use it'
            )}
            <span class="unseen">, version {version.number}</span>
          </button>
        )}
      </div>
      <p class="quiet">
        {when(version.createdAt)} · {size(version.bytes)}
        {parent !== undefined && ` · grew from version ${parent}`}
      </p>
      {metrics?.nll && (
        <p>
          Loss on unseen answers {metrics.nll.base.toFixed(3)} → <strong>{metrics.nll.adapted.toFixed(3)}</strong>
        </p>
      )}
      {version.note && <p class="prose note-text">{version.note}</p>}
      <MemorisedNote version={version} />
      <div class="row">
        <a class="button small" href={`${href('chat')}?version=${version.id}`}>
          <Icon name="chat" size={18} /> Chat
        </a>
        <button type="button" class="button small" onClick={onExport}>
          <Icon name="export" size={18} /> Export
        </button>
        <button type="button" class="button small" onClick={onNote}>
          <Icon name="edit" size={18} /> Note
        </button>
        <button type="button" class="icon-button" aria-label={`Delete version ${version.number}`} onClick={onDelete}>
          <Icon name="trash" size={20} />
        </button>
      </div>
      <details class="fold inner">
        <summary>How it was made</summary>
        <dl class="lineage">
          {imported !== undefined && (
            <div>
              <dt>Imported</dt>
              <dd>{imported || 'from a file'}</dd>
            </div>
          )}
          {names.length > 0 && (
            <div>
              <dt>Learnt from</dt>
              <dd>{names.join(', ')}</dd>
            </div>
          )}
          {settings.map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{typeof value === 'object' ? JSON.stringify(value) : String(value)}</dd>
            </div>
          ))}
        </dl>
      </details>
    </li>
  );
}

type Format = 'gguf' | 'peft';

/** Before an adapter leaves the vault its finder says what it knows by heart: an export is not encrypted. */
export function ExportDialog({
  adapter,
  version,
  onClose,
}: {
  adapter: Adapter;
  version: AdapterVersion;
  onClose: () => void;
}) {
  const path = `/api/adapters/${adapter.id}/versions/${version.id}`;
  const [format, setFormat] = useState<Format>('gguf');
  const [understood, setUnderstood] = useState(false);
  const [probing, setProbing] = useState(false);
  const [error, setError] = useState<Error>();
  const kept = useResource(async (signal) => {
    try {
      return (await call<{ memorised: Memorised | null }>('GET', `${path}/memorised`, { signal })).memorised;
    } catch (caught) {
      if (caught instanceof ApiError && caught.status === 404) return null;
      throw caught;
    }
  }, []);
  const report = kept.data ?? version.memorised ?? undefined;
  const risky = !report || report.verdicts.reproduced > 0 || report.verdicts.likely > 0;
  const probe = async () => {
    setProbing(true);
    setError(undefined);
    try {
      kept.set((await call<{ memorised: Memorised | null }>('POST', `${path}/memorised`, { body: {} })).memorised);
      tellChanged('adapters');
    } catch (caught) {
      setError(caught as Error);
    }
    setProbing(false);
  };
  return (
    <Confirm
      title={`Export version ${version.number}`}
      verb="Export"
      disabled={risky && !understood}
      onClose={onClose}
      onConfirm={async () => {
        const name = `${adapter.name}-v${version.number}`;
        await download(
          `${path}/export?format=${format}&confirm=true`,
          format === 'gguf' ? `${name}.gguf` : `${name}.zip`,
        );
      }}
    >
      <p>The file is not encrypted, and holds what was learnt from your examples.</p>
      <MemorisedNote version={{ ...version, memorised: report }} />
      <Fault error={error ?? kept.error} />
      {!report && (
        <button type="button" class="button small" disabled={probing} onClick={() => void probe()}>
          {probing ? 'Trying it; this takes a while…' : 'Try it now'}
        </button>
      )}
      <Choice
        label="Format"
        showLabel
        value={format}
        onChange={setFormat}
        options={[
          { value: 'gguf', label: 'GGUF' },
          { value: 'peft', label: 'PEFT' },
        ]}
      />
      <p class="hint">
        {format === 'gguf' ? 'For llama.cpp and the apps built on it.' : 'For Python: peft and transformers.'}
      </p>
      {risky && (
        <label class="check">
          <input
            type="checkbox"
            checked={understood}
            onChange={(event) => setUnderstood(event.currentTarget.checked)}
          />
          <span>I know that whoever gets this file may get at private details of my examples.</span>
        </label>
      )}
    </Confirm>
  );
}
