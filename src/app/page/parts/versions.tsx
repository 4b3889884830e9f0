import { useState } from 'preact/hooks';
import { count } from '../../../base/format.js';
import type { Adapter, AdapterVersion, Memorised } from '../../../serve/contract/adapters.js';
import { capital, plural, size, when } from '../../logic/words.js';
import { call, download } from '../api.js';
import { href } from '../browser.js';
import { tellChanged, useAction, useAnswer } from '../server.js';
import { Check, IconButton } from './controls.js';
import { Confirm } from './dialogs.js';
import { Entry, Fault, Icon } from './layout.js';
import { Lost } from './run.js';

/** One version of an adapter: how it was made, what it has memorised of its examples, and its way out of the vault. */

interface VersionCardProps {
  version: AdapterVersion;
  /** Number of the version it began with. */
  parent?: number;
  state: 'used' | 'older' | 'newer';
  onUse: () => void;
  onNote: () => void;
  onExport: () => void;
  onDelete: () => void;
}

export function VersionCard({ version, parent, state, onUse, onNote, onExport, onDelete }: VersionCardProps) {
  const { metrics, datasets, recipe, imported } = version;
  const names = datasets.map(({ name, deleted }) => name ?? (deleted ? 'a deleted data set' : 'a file'));
  const settings = Object.entries(recipe ?? {}).filter(([, value]) => value !== undefined && value !== null);
  return (
    <li class={state === 'used' ? 'layer used' : 'layer'}>
      <div class="layer-head">
        <h2>Version {version.number}</h2>
        {state === 'used' ? (
          <span class="chip good">in use</span>
        ) : (
          <button type="button" class="button small" onClick={onUse}>
            {state === 'older' && <Icon name="undo" size={18} />}
            {state === 'older' ? 'Roll back to it' : 'Use it'}
            <span class="unseen">, version {version.number}</span>
          </button>
        )}
      </div>
      <p class="quiet">
        {when(version.createdAt)} · {size(version.bytes)}
        {parent !== undefined && ` · continues version ${parent}`}
      </p>
      {metrics?.nll && (
        <p>
          Held-out loss {metrics.nll.base.toFixed(3)} → <strong>{metrics.nll.adapted.toFixed(3)}</strong>
        </p>
      )}
      <Lost general={metrics?.general} />
      {version.note && <p class="prose note-text">{version.note}</p>}
      <MemorisedNote report={version.memorised} />
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
        <IconButton icon="trash" size={20} label={`Delete version ${version.number}`} onClick={onDelete} />
      </div>
      <details class="fold inner">
        <summary>How it was made</summary>
        <dl class="lineage">
          {imported !== undefined && <Entry name="Imported">{imported || 'from a file'}</Entry>}
          {names.length > 0 && <Entry name="Learnt from">{names.join(', ')}</Entry>}
          {settings.map(([name, value]) => (
            <Entry key={name} name={name}>
              {typeof value === 'object' ? JSON.stringify(value) : String(value)}
            </Entry>
          ))}
        </dl>
      </details>
    </li>
  );
}

/** What the adapter was found to have memorised, in a sentence and, where there is something, as a list. */
function MemorisedNote({ report }: { report: Memorised | undefined }) {
  if (!report) return <p class="quiet">Not yet tested for what it has memorised.</p>;
  const bad = report.results.filter(({ verdict }) => verdict === 'reproduced' || verdict === 'likely');
  const tested = report.probed > 0 || report.findings === 0;
  return (
    <div class={bad.length > 0 ? 'note bad' : tested ? 'note good' : 'note'}>
      <Icon name={bad.length > 0 ? 'warn' : 'shield'} />
      <div>
        <p>{sentenceOf(report)}</p>
        {bad.length > 0 && (
          <ul class="remarks">
            {bad.slice(0, 8).map(({ id, label, preview, verdict }) => (
              <li key={id}>
                <strong>{capital(label)}</strong> {preview}{' '}
                <span class="quiet">
                  {verdict === 'reproduced' ? 'reproduced word for word' : 'far more likely than chance'}
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
  if (findings === 0) return 'No private details were found in what it learnt from, so there was nothing to test.';
  if (probed === 0) return `None of the ${plural(findings, 'private detail')} in its examples could be tested.`;
  if (verdicts.reproduced > 0) {
    return `It reproduces ${plural(verdicts.reproduced, 'private detail')} from its examples word for word. Anyone with this adapter can extract them.`;
  }
  if (verdicts.likely > 0) {
    return `It reproduced no private detail, but finds ${count(verdicts.likely)} of them far more likely than chance.`;
  }
  return `It was tested with ${plural(probed, 'private detail')} from its examples and reproduced none. That is no proof that it never will.`;
}

interface ExportDialogProps {
  adapter: Adapter;
  version: AdapterVersion;
  onClose: () => void;
}

/** Before an adapter leaves the vault it says what it has memorised: an export is not encrypted. */
export function ExportDialog({ adapter, version, onClose }: ExportDialogProps) {
  const path = `/api/adapters/${adapter.id}/versions/${version.id}`;
  const [understood, setUnderstood] = useState(false);
  const probing = useAction();
  const kept = useAnswer<{ memorised: Memorised | null }>(`${path}/memorised`);
  const report = kept.data?.memorised ?? version.memorised;
  const risky = !report || report.verdicts.reproduced > 0 || report.verdicts.likely > 0;
  const probe = async () => {
    kept.set(await call('POST', `${path}/memorised`, { body: {} }));
    tellChanged('adapters');
  };
  return (
    <Confirm
      title={`Export version ${version.number}`}
      verb="Export"
      disabled={risky && !understood}
      onClose={onClose}
      onConfirm={() => download(`${path}/export?confirm=true`, `${adapter.name}-v${version.number}.gguf`)}
    >
      <p>The file is not encrypted, and contains what was learnt from your examples.</p>
      <MemorisedNote report={report} />
      <Fault error={probing.error ?? kept.error} />
      {!report && (
        <button type="button" class="button small" disabled={probing.busy} onClick={() => void probing.run(probe)}>
          {probing.busy ? 'Testing; this takes a while…' : 'Test it now'}
        </button>
      )}
      <p class="hint">
        A GGUF file, for llama.cpp and the apps built on it. For Python, <code>loam adapters convert</code> makes a PEFT
        folder of it.
      </p>
      {risky && (
        <Check checked={understood} onChange={setUnderstood}>
          I understand that anyone with this file may extract private details from my examples.
        </Check>
      )}
    </Confirm>
  );
}
