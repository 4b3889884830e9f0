import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import type { DatasetEdit, ExampleInput, ExampleRow, Finding } from '../../../serve/contract/datasets.js';
import { t } from '../../logic/language.js';
import { sayProblem } from '../../logic/said.js';
import { capital, detailName } from '../../logic/words.js';
import { readDraft, useDrafts, writeDraft } from '../drafts.js';
import { TextField } from '../parts/controls.js';
import { Dialog } from '../parts/dialogs.js';
import { textsOf, withTexts } from '../parts/examples.js';
import { Fault, Icon } from '../parts/layout.js';
import { Redaction } from '../parts/redaction.js';

/** The texts of an example as they were when the editing began, and as they are now. */
export interface EditDraft {
  index: number;
  base: readonly string[];
  texts: readonly string[];
}

export function editName(dataset: string, base: string): string {
  return `edit/${dataset}/${base}`;
}

interface ExampleEditorProps {
  dataset: string;
  row: ExampleRow;
  busy: boolean;
  error?: Error;
  onClose: () => void;
  /** @returns whether it succeeded */
  onPatch: (body: DatasetEdit, said: string) => Promise<boolean>;
}

/** One example: what was found in it, its text to edit, and whether it is learnt. */
export function ExampleEditor({ dataset, row, busy, error, onClose, onPatch }: ExampleEditorProps) {
  const texts = textsOf(row);
  const { index, excluded } = row;
  const stored = texts.map(({ text }) => text);
  const all = useDrafts<EditDraft>(editName(dataset, ''));
  const [name, edit] =
    all.find(([, one]) => JSON.stringify(one.base) === JSON.stringify(stored)) ??
    all.find(([, one]) => one.index === index) ??
    [];
  /** While the example is edited. */
  const drafts = edit?.texts.length === texts.length ? edit.texts : undefined;
  const setDrafts = (next: readonly string[] | undefined, base: readonly string[] = edit?.base ?? stored) => {
    const isSame = name === undefined || name === base.join('\0');
    if (!isSame || !next) writeDraft(editName(dataset, name ?? base.join('\0')), undefined);
    if (next) writeDraft(editName(dataset, base.join('\0')), { index, base, texts: next });
  };
  /** Somebody has changed the example since the editing began. */
  const isOther = drafts !== undefined && JSON.stringify(edit!.base) !== JSON.stringify(stored);
  const [wrong, setWrong] = useState<Error>();
  /** A find in an answer, about which it is asked what the model is to say instead. */
  const [asked, setAsked] = useState<Pick<Finding, 'id' | 'kind' | 'label'>>();
  const isInAnswer = (found: string) =>
    texts.some(({ role, findings }) => role === 'answer' && findings.some(({ id }) => id === found));
  const redact = ({ id, kind, label }: Pick<Finding, 'id' | 'kind' | 'label'>, answers: DatasetEdit['answers']) =>
    onPatch(
      { redact: [{ index, findingId: id }], answers },
      t('{what} redacted', { what: capital(detailName({ kind, label })) }),
    );
  const save = async (next: readonly string[]) => {
    setWrong(undefined);
    let example: ExampleInput;
    try {
      example = withTexts(row, next);
    } catch (caught) {
      return setWrong(caught as Error);
    }
    if (!(await onPatch({ edit: [{ index, example }] }, t('Example saved')))) return;
    // What was typed meanwhile is an edit of what is stored now.
    const latest = name === undefined ? undefined : readDraft<EditDraft>(editName(dataset, name))?.texts;
    setDrafts(latest === next ? undefined : latest, next);
  };
  return (
    <Dialog
      wide
      title={row.line ? t('Example on line {line}', { line: row.line }) : t('Example {index}', { index: index + 1 })}
      onClose={onClose}
      actions={
        drafts ? (
          <>
            <button type="button" class="button" onClick={() => setDrafts(undefined)}>
              {t('Cancel')}
            </button>
            <button type="button" class="button primary" disabled={busy || isOther} onClick={() => void save(drafts)}>
              {t('Save')}
            </button>
          </>
        ) : (
          <>
            <button
              type="button"
              class="button"
              disabled={busy}
              onClick={() =>
                void (excluded
                  ? onPatch({ include: [index] }, t('It will be learnt'))
                  : onPatch({ exclude: [index] }, t('It is left out')))
              }
            >
              {excluded ? t('Include it again') : t('Leave it out')}
            </button>
            <button type="button" class="button primary" onClick={() => setDrafts(stored)}>
              <Icon name="edit" /> {t('Edit')}
            </button>
          </>
        )
      }
    >
      {excluded && <p class="chip">{t('left out: not learnt')}</p>}
      {row.problems.map((problem) => (
        <p key={problem.reason} class={problem.severity === 'error' ? 'note bad' : 'note warn'}>
          <Icon name="warn" /> <span>{capital(sayProblem(problem).text)}</span>
        </p>
      ))}
      <Fault error={wrong ?? error} />
      {isOther && (
        <div class="note warn" role="alert">
          <Icon name="warn" />
          <div>
            <p>
              {t(
                'This example was changed elsewhere while you edited it. Below each text stands how it is stored now.',
              )}
            </p>
            <div class="row">
              <button type="button" class="button small" onClick={() => setDrafts(drafts, stored)}>
                {t('Keep mine')}
              </button>
              <button type="button" class="button small" onClick={() => setDrafts(undefined)}>
                {t('Take the stored one')}
              </button>
            </div>
          </div>
        </div>
      )}
      {texts.map(({ label, role, text, findings, fixed }, i) =>
        drafts && !fixed ? (
          <div key={label + i} class="stack">
            <TextField
              label={capital(label)}
              rows={role === 'answer' ? 5 : 3}
              value={drafts[i]!}
              onInput={(next) => setDrafts(drafts.with(i, next))}
            />
            {isOther && drafts[i] !== text && (
              <section class="passage">
                <h3>{t('Stored now')}</h3>
                <p class="prose">{text === '' ? t('(empty)') : text}</p>
              </section>
            )}
          </div>
        ) : (
          (text !== '' || role !== 'other') && (
            <section key={label + i} class={`passage ${role}`}>
              <h3>{label}</h3>
              <p class="prose">{marked(text, findings)}</p>
            </section>
          )
        ),
      )}
      {!drafts && row.findings.length > 0 && (
        <section>
          <h3>{t('Private details')}</h3>
          <ul class="plain-list">
            {row.findings.map(({ id, kind, label, preview, certainty }) => (
              <li key={id}>
                <span>
                  <strong>{capital(detailName({ kind, label }))}</strong>{' '}
                  <span class="quiet">
                    {preview}
                    {certainty === 'possible' && ` ${t('(perhaps)')}`}
                  </span>
                </span>
                <button
                  type="button"
                  class="button small"
                  disabled={busy}
                  onClick={() =>
                    isInAnswer(id) ? setAsked({ id, kind, label }) : void redact({ id, kind, label }, undefined)
                  }
                >
                  {t('Redact')}
                  <span class="unseen"> {capital(detailName({ kind, label }))}</span>
                </button>
              </li>
            ))}
          </ul>
        </section>
      )}
      {asked && (
        <Redaction
          title={capital(detailName(asked))}
          id={dataset}
          kinds={[asked.kind]}
          onClose={() => setAsked(undefined)}
          onRedact={async (answers) => {
            if (!(await redact(asked, answers))) throw new Error(t('It was not redacted.'));
          }}
        />
      )}
    </Dialog>
  );
}

/** The text with its findings marked. Offsets from the server are held against the text's length, and overlaps drawn once. */
function marked(text: string, findings: readonly Finding[]): ComponentChildren[] {
  const parts: ComponentChildren[] = [];
  let at = 0;
  for (const { id, label, ...finding } of [...findings].sort((a, b) => a.start - b.start)) {
    const start = Math.max(at, finding.start);
    const end = Math.min(text.length, finding.end);
    if (end <= start) continue;
    parts.push(
      text.slice(at, start),
      <mark key={id} title={label}>
        {text.slice(start, end)}
      </mark>,
    );
    at = end;
  }
  return [...parts, text.slice(at)];
}
