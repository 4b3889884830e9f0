import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { count } from '../../../base/format.js';
import type { DatasetEdit, ExampleInput, ExampleRow, Finding } from '../../../serve/contract/datasets.js';
import { capital } from '../../logic/words.js';
import { TextField } from '../parts/controls.js';
import { Dialog } from '../parts/dialogs.js';
import { textsOf, withTexts } from '../parts/examples.js';
import { Fault, Icon } from '../parts/layout.js';

interface ExampleEditorProps {
  row: ExampleRow;
  busy: boolean;
  error?: Error;
  onClose: () => void;
  /** @returns whether it succeeded */
  onPatch: (body: DatasetEdit, said: string) => Promise<boolean>;
}

/** One example: what was found in it, its text to edit, and whether it is learnt. */
export function ExampleEditor({ row, busy, error, onClose, onPatch }: ExampleEditorProps) {
  const texts = textsOf(row);
  /** While the example is edited. */
  const [drafts, setDrafts] = useState<string[]>();
  const { index, excluded } = row;
  const save = async (example: ExampleInput) => {
    if (await onPatch({ edit: [{ index, example }] }, 'Example saved')) setDrafts(undefined);
  };
  return (
    <Dialog
      wide
      title={row.line ? `Example on line ${count(row.line)}` : `Example ${index + 1}`}
      onClose={onClose}
      actions={
        drafts ? (
          <>
            <button type="button" class="button" onClick={() => setDrafts(undefined)}>
              Cancel
            </button>
            <button
              type="button"
              class="button primary"
              disabled={busy}
              onClick={() => void save(withTexts(row, drafts))}
            >
              Save
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
                  ? onPatch({ include: [index] }, 'It will be learnt')
                  : onPatch({ exclude: [index] }, 'It is left out'))
              }
            >
              {excluded ? 'Include it again' : 'Leave it out'}
            </button>
            <button type="button" class="button primary" onClick={() => setDrafts(texts.map(({ text }) => text))}>
              <Icon name="edit" /> Edit
            </button>
          </>
        )
      }
    >
      {excluded && <p class="chip">left out: not learnt</p>}
      {row.problems.map(({ reason, severity }) => (
        <p key={reason} class={severity === 'error' ? 'note bad' : 'note warn'}>
          <Icon name="warn" /> <span>{reason}</span>
        </p>
      ))}
      <Fault error={error} />
      {texts.map(({ label, role, text, findings, fixed }, i) =>
        drafts && !fixed ? (
          <TextField
            key={label + i}
            label={capital(label)}
            rows={role === 'answer' ? 5 : 3}
            value={drafts[i]!}
            onInput={(next) => setDrafts(drafts.with(i, next))}
          />
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
          <h3>Private details</h3>
          <ul class="plain-list">
            {row.findings.map(({ id, label, preview, certainty }) => (
              <li key={id}>
                <span>
                  <strong>{capital(label)}</strong>{' '}
                  <span class="quiet">
                    {preview}
                    {certainty === 'possible' && ' (perhaps)'}
                  </span>
                </span>
                <button
                  type="button"
                  class="button small"
                  disabled={busy}
                  onClick={() => void onPatch({ redact: [{ index, findingId: id }] }, `${capital(label)} redacted`)}
                >
                  Redact<span class="unseen"> {capital(label)}</span>
                </button>
              </li>
            ))}
          </ul>
        </section>
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
