import { duration } from '../../../util/format.js';
import type { AdapterVersion } from '../../logic/types.js';
import { size, when } from '../readable.js';
import { href } from '../router.js';
import { Icon } from './Icon.js';
import { MemorisedNote } from './MemorisedNote.js';

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
        {metrics?.seconds !== undefined && ` · learnt in ${duration(metrics.seconds)}`}
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
