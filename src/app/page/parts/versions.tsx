import type { AdapterVersion } from '../../../serve/contract/adapters.js';
import { settingInWords } from '../../logic/formFields.js';
import { number, rich, t } from '../../logic/language.js';
import { inWords, lostInWords } from '../../logic/outcome.js';
import { size, when } from '../../logic/words.js';
import { href } from '../browser.js';
import { IconButton } from './controls.js';
import { Entry, Icon } from './layout.js';
import { MemorisedNote } from './memorised.js';
import { Lost } from './run.js';

/** One version of an adapter: how it was made, and what can be done with it. */

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
  const names = datasets.map(({ name, deleted }) => name ?? (deleted ? t('a deleted data set') : t('a file')));
  const settings = Object.entries(recipe ?? {})
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([name, value]) => settingInWords(name, value));
  return (
    <li class={state === 'used' ? 'layer used' : 'layer'}>
      <div class="layer-head">
        <h2>{t('Version {number}', { number: version.number })}</h2>
        {state === 'used' ? (
          <span class="chip good">{t('in use')}</span>
        ) : (
          <button type="button" class="button small" onClick={onUse}>
            {state === 'older' && <Icon name="undo" size={18} />}
            {state === 'older' ? t('Roll back to it') : t('Use it')}
            <span class="unseen">{`, ${t('version {number}', { number: version.number })}`}</span>
          </button>
        )}
      </div>
      <p class="quiet">
        {when(version.createdAt)} · {size(version.bytes)}
        {parent !== undefined && ` · ${t('continues version {parent}', { parent })}`}
      </p>
      {metrics?.nll && <p>{inWords(metrics.nll)}</p>}
      {metrics?.general && <p>{lostInWords(metrics.general)}</p>}
      {version.note && <p class="prose note-text">{version.note}</p>}
      <MemorisedNote version={version} />
      <div class="row">
        <a class="button small" href={`${href('chat')}?version=${version.id}`}>
          <Icon name="chat" size={18} /> {t('Chat')}
        </a>
        <button type="button" class="button small" onClick={onExport}>
          <Icon name="export" size={18} /> {t('Export')}
        </button>
        <button type="button" class="button small" onClick={onNote}>
          <Icon name="edit" size={18} /> {t('Note')}
        </button>
        <IconButton
          icon="trash"
          size={20}
          label={t('Delete version {number}', { number: version.number })}
          onClick={onDelete}
        />
      </div>
      <details class="fold inner">
        <summary>{t('How it was made')}</summary>
        {metrics?.nll && (
          <p>
            {rich('Held-out loss {base} → {adapted}', {
              base: number(metrics.nll.base, 3),
              adapted: <strong>{number(metrics.nll.adapted, 3)}</strong>,
            })}
          </p>
        )}
        <Lost general={metrics?.general} />
        <dl class="lineage">
          {imported !== undefined && <Entry name={t('Imported')}>{imported || t('from a file')}</Entry>}
          {names.length > 0 && <Entry name={t('Learnt from')}>{names.join(', ')}</Entry>}
          {settings.map(({ label, text }) => (
            <Entry key={label} name={label}>
              {text}
            </Entry>
          ))}
        </dl>
      </details>
    </li>
  );
}
