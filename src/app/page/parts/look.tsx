import { useEffect, useState } from 'preact/hooks';
import type { DatasetLook, ExampleRow } from '../../../serve/contract/datasets.js';
import { columnsOf, inWords } from '../../logic/columns.js';
import { plural, t } from '../../logic/language.js';
import { sayFault, sayProblem } from '../../logic/said.js';
import { capital } from '../../logic/words.js';
import { upload } from '../api.js';
import { useAction } from '../server.js';
import { Select } from './controls.js';
import { Dialog } from './dialogs.js';
import { textsOf } from './examples.js';
import { Detail, Fault, Icon } from './layout.js';

/** What a file would be learnt as, and what the person says about it before it is taken. */

/** Throws ApiError for what no choice makes readable. */
export async function lookAtFile(file: File, columns: string | undefined, signal: AbortSignal): Promise<DatasetLook> {
  const query = new URLSearchParams({ file: file.name, ...(columns !== undefined && { columns }) });
  return await upload<DatasetLook>(`/api/datasets/look?${query}`, file, () => {}, signal);
}

interface LookDialogProps {
  file: File;
  look: DatasetLook;
  /** With the columns to be read; without, the file is not taken. */
  answer: (columns?: string) => void;
}

const parts = () =>
  [
    ['question', t('Someone asks')],
    ['answer', t('You answer')],
    ['context', t('Text that belongs to the question')],
    ['system', t('Instructions')],
  ] as const;

export function LookDialog({ file, look: first, answer }: LookDialogProps) {
  const [look, setLook] = useState(first);
  const [chosen, setChosen] = useState(first.table?.chosen ?? {});
  const [me, setMe] = useState(first.chat?.me);
  const { busy, error, run } = useAction();
  const columns = me === undefined ? columnsOf(chosen) : `me=${me}`;
  const isWhole = me !== undefined || (chosen.question !== undefined && chosen.answer !== undefined);
  const isSame = columns === (first.columns ?? columnsOf(first.table?.chosen ?? {}));
  useEffect(() => {
    if (isSame) setLook(first);
    if (isSame || !isWhole) return;
    const stop = new AbortController();
    void run(async () => {
      const next = await lookAtFile(file, columns, stop.signal);
      if (!stop.signal.aborted) setLook(next);
    });
    return () => stop.abort();
  }, [columns]);
  const problem = look.problem && sayFault(look.problem);
  const left = look.left.reduce((sum, { records }) => sum + records, 0);
  return (
    <Dialog
      wide
      title={first.chat ? t('Who are you in this chat?') : t('Which column is which?')}
      onClose={() => answer()}
      actions={
        <>
          <button type="button" class="button" onClick={() => answer()}>
            {t('Cancel')}
          </button>
          <button
            type="button"
            class="button primary"
            disabled={busy || !isWhole || look.examples === 0}
            // What the file says itself needs no choice, and keeps what else it says.
            onClick={() => answer(isSame && !first.guessed ? '' : columns)}
          >
            {t('Add {examples}', { examples: plural(look.examples, '{n} example', '{n} examples') })}
          </button>
        </>
      }
    >
      {first.chat && (
        <Select
          label={t('You are')}
          hint={t('What this person wrote is learnt as the answers.')}
          value={me!}
          onChange={setMe}
          options={first.chat.people.map((name) => ({ value: name, label: name }))}
        />
      )}
      {first.table && (
        <div class="options">
          {parts().map(([part, label]) => (
            <Select
              key={part}
              label={label}
              value={chosen[part] ?? ''}
              onChange={(name) => setChosen(moved(chosen, part, name))}
              options={[
                { value: '', label: part === 'question' || part === 'answer' ? t('Choose') : t('None') },
                ...first.table!.columns.map(({ name, sample }) => ({ value: name, label: labelOf(name, sample) })),
              ]}
            />
          ))}
        </div>
      )}
      <Fault error={error} />
      {isWhole && problem && (
        <div class="note warn">
          <Icon name="warn" />
          <div>
            <p>{capital(inWords(problem.text))}</p>
            <Detail text={problem.detail} />
          </div>
        </div>
      )}
      {look.first.length > 0 && (
        <section class="stack" aria-busy={busy}>
          <h3>{t('How it is learnt')}</h3>
          {look.first.map((example, i) => (
            <Example key={i} example={example} />
          ))}
        </section>
      )}
      {left > 0 && (
        <section>
          <h3>
            {t('{records} of {all} left out', {
              records: plural(left, '{n} record', '{n} records'),
              all: look.records,
            })}
          </h3>
          <Left reasons={look.left} />
        </section>
      )}
    </Dialog>
  );
}

/** Another column for a part; a column is one thing only. */
function moved(
  chosen: NonNullable<DatasetLook['table']>['chosen'],
  part: ReturnType<typeof parts>[number][0],
  name: string,
) {
  const others = Object.entries(chosen).filter(([one, column]) => one !== part && column !== name);
  return { ...Object.fromEntries(others), ...(name !== '' && { [part]: name }) };
}

function labelOf(name: string, sample: string): string {
  const called = /^#\d+$/.test(name) ? t('Column {name}', { name: name.slice(1) }) : name;
  return sample === '' ? called : `${called} (${sample})`;
}

function Example({ example }: { example: DatasetLook['first'][number] }) {
  const row: ExampleRow = { ...example, index: 0, line: 0, excluded: false, problems: [], findings: [] };
  return (
    <div class="passages">
      {textsOf(row).map(
        ({ label, role, text }, i) =>
          text !== '' && (
            <section key={i} class={`passage ${role}`}>
              <h4>{label}</h4>
              <p class="prose">{text}</p>
            </section>
          ),
      )}
    </div>
  );
}

/** Why records are left out, and how many for each reason. */
export function Left({ reasons }: { reasons: DatasetLook['left'] }) {
  return (
    <ul class="remarks">
      {reasons.map(({ reason, kind, records, line }) => {
        const { text, detail } = sayProblem({ reason, kind });
        return (
          <li key={reason}>
            {plural(records, '{n} record', '{n} records')}: {text}{' '}
            <span class="quiet">{t('(first on line {line})', { line })}</span>
            <Detail text={detail} />
          </li>
        );
      })}
    </ul>
  );
}
