import { useState } from 'preact/hooks';
import type { DatasetEdit, RefusedPage } from '../../../serve/contract/datasets.js';
import { plural, t } from '../../logic/language.js';
import { sayProblem } from '../../logic/said.js';
import { capital } from '../../logic/words.js';
import { useDraft } from '../drafts.js';
import { useAction, useAnswer } from '../server.js';
import { TextField } from './controls.js';
import { Dialog } from './dialogs.js';
import { Detail, Fault, Pending } from './layout.js';
import { Left } from './look.js';

/** Records of a data set that cannot be learnt: how many, why, and each to be repaired. */

interface RefusedProps {
  /** Of the data set. */
  id: string;
  /** Throws ApiError. */
  onRepair: (body: DatasetEdit, said: string) => Promise<void>;
}

type RefusedRecord = RefusedPage['records'][number];

export function Refused({ id, onRepair }: RefusedProps) {
  const refused = useAnswer<RefusedPage>(`/api/datasets/${id}/refused`, ['datasets']);
  const [open, setOpen] = useState<RefusedRecord>();
  const { data } = refused;
  if (!data) return <Pending of={[refused]} />;
  const left = data.left.reduce((sum, { records }) => sum + records, 0);
  return (
    <section class="sheet">
      <h2>{t('{records} left out', { records: plural(left, '{n} record', '{n} records') })}</h2>
      <Left reasons={data.left} />
      <ul class="plain-list">
        {data.records.map((record) => (
          <li key={record.index}>
            <span>
              <span class="quiet">{t('line {line}:', { line: record.line })}</span> {sayProblem(record).text}
              <span class="clamp-1">{record.draft.instruction || record.text}</span>
            </span>
            <button type="button" class="button small" onClick={() => setOpen(record)}>
              {t('Repair')}
              <span class="unseen"> {t('the record on line {line}', { line: record.line })}</span>
            </button>
          </li>
        ))}
      </ul>
      {data.total > data.records.length && (
        <p class="quiet">{t('and {total} more', { total: data.total - data.records.length })}</p>
      )}
      {open && (
        <Repair
          key={open.index}
          id={id}
          record={open}
          onClose={() => setOpen(undefined)}
          onRepair={(example) =>
            onRepair({ sha256: data.sha256, repair: [{ index: open.index, example }] }, t('It will be learnt'))
          }
        />
      )}
    </section>
  );
}

interface RepairProps {
  id: string;
  record: RefusedRecord;
  onClose: () => void;
  onRepair: (example: { instruction: string; input: string; output: string; system?: string }) => Promise<void>;
}

function Repair({ id, record, onClose, onRepair }: RepairProps) {
  const { line, text, draft } = record;
  const said = sayProblem(record);
  const [typed, setTyped] = useDraft(`repair/${id}/${text}`, draft);
  const { busy, error, run } = useAction();
  const isWhole = typed.instruction.trim() !== '' && typed.output.trim() !== '';
  const field = (part: keyof typeof draft) => ({
    value: typed[part],
    onInput: (next: string) => setTyped({ ...typed, [part]: next }),
  });
  const save = () =>
    run(async () => {
      const { system, ...rest } = typed;
      await onRepair({ ...rest, ...(system.trim() !== '' && { system }) });
      setTyped(draft);
      onClose();
    });
  return (
    <Dialog
      wide
      title={t('Record on line {line}', { line })}
      onClose={onClose}
      actions={
        <>
          <button type="button" class="button" onClick={onClose}>
            {t('Cancel')}
          </button>
          <button type="button" class="button primary" disabled={busy || !isWhole} onClick={() => void save()}>
            {t('Save')}
          </button>
        </>
      }
    >
      <p class="note warn">{capital(said.text)}.</p>
      <Detail text={said.detail} />
      <TextField label={t('Someone asks')} rows={2} {...field('instruction')} />
      <TextField label={t('with this text (optional)')} rows={1} {...field('input')} />
      <TextField label={t('You answer')} rows={3} {...field('output')} />
      {draft.system !== '' && <TextField label={t('Instructions')} rows={2} {...field('system')} />}
      <Fault error={error} />
      <details class="fold">
        <summary>{t('The record as it stands')}</summary>
        <pre>{text}</pre>
      </details>
    </Dialog>
  );
}
