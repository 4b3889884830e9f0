import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import type { ExampleRow, Finding } from '../../../serve/contract/datasets.js';
import { capital } from '../api.js';
import { Dialog } from '../parts/dialogs.js';
import { Field } from '../parts/fields.js';
import { Fault, Icon } from '../parts/layout.js';

interface Text {
  label: string;
  role: 'question' | 'answer' | 'other';
  text: string;
  /** Where in the example it stands. */
  at: { field: 'instruction' | 'input' | 'output' } | { message: number };
  findings: Finding[];
}

const roles = { system: 'Told beforehand', user: 'Someone asks', assistant: 'The answer' } as const;

/** The texts of an example, whichever form it has. */
export function textsOf(row: ExampleRow): Text[] {
  if (row.messages) {
    return row.messages.map(({ role, content }, message) => ({
      label: roles[role],
      role: role === 'assistant' ? 'answer' : role === 'user' ? 'question' : 'other',
      text: content,
      at: { message },
      findings: row.findings.filter((finding) => finding.message === message),
    }));
  }
  // Such an example is a conversation of two messages: the question and the answer.
  const messages = { instruction: 0, input: -1, output: 1 };
  const field = (name: 'instruction' | 'input' | 'output', label: string, role: Text['role']): Text => ({
    label,
    role,
    text: row[name] ?? '',
    at: { field: name },
    findings: row.findings.filter((finding) => (finding.field ?? '') === name || finding.message === messages[name]),
  });
  return [
    field('instruction', 'Someone asks', 'question'),
    field('input', 'with this text', 'other'),
    field('output', 'The answer', 'answer'),
  ];
}

interface Props {
  row: ExampleRow;
  busy: boolean;
  error?: Error;
  onClose: () => void;
  onPatch: (body: Record<string, unknown>, said: string) => Promise<boolean>;
}

/** One example: what was found in it, its text to edit, and whether it is learnt. */
export function ExampleEditor({ row, busy, error, onClose, onPatch }: Props) {
  const [editing, setEditing] = useState(false);
  const texts = textsOf(row);
  const [drafts, setDrafts] = useState(() => texts.map(({ text }) => text));
  const redact = (finding: Finding) =>
    onPatch({ redact: [{ index: row.index, findingId: finding.id }] }, `${capital(finding.label)} redacted`);
  const save = async () => {
    const example = row.messages
      ? { messages: row.messages.map((message, i) => ({ ...message, content: drafts[i]! })) }
      : { instruction: drafts[0], input: drafts[1], output: drafts[2] };
    if (await onPatch({ edit: [{ index: row.index, example }] }, 'Example saved')) setEditing(false);
  };
  return (
    <Dialog
      wide
      title={row.line ? `Example on line ${row.line.toLocaleString('en-US')}` : `Example ${row.index + 1}`}
      onClose={onClose}
      actions={
        editing ? (
          <>
            <button
              type="button"
              class="button"
              onClick={() => {
                setDrafts(texts.map(({ text }) => text));
                setEditing(false);
              }}
            >
              Cancel
            </button>
            <button type="button" class="button primary" disabled={busy} onClick={() => void save()}>
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
                void onPatch(
                  row.excluded ? { include: [row.index] } : { exclude: [row.index] },
                  row.excluded ? 'It will be learnt' : 'It is left out',
                )
              }
            >
              {row.excluded ? 'Take it in again' : 'Leave it out'}
            </button>
            <button
              type="button"
              class="button primary"
              onClick={() => {
                setDrafts(texts.map(({ text }) => text));
                setEditing(true);
              }}
            >
              <Icon name="edit" /> Edit
            </button>
          </>
        )
      }
    >
      {row.excluded && <p class="chip">left out: it is not learnt</p>}
      {row.problems.map(({ reason, severity }) => (
        <p key={reason} class={severity === 'error' ? 'note bad' : 'note warn'}>
          <Icon name="warn" /> <span>{reason}</span>
        </p>
      ))}
      <Fault error={error} />
      {texts.map((text, i) =>
        editing ? (
          <Field key={text.label + i} label={text.label}>
            {(ids) => (
              <textarea
                {...ids}
                rows={text.role === 'answer' ? 5 : 3}
                value={drafts[i]}
                onInput={(event) => setDrafts(drafts.map((draft, j) => (j === i ? event.currentTarget.value : draft)))}
              />
            )}
          </Field>
        ) : (
          (text.text !== '' || text.role !== 'other') && (
            <section key={text.label + i} class={`passage ${text.role}`}>
              <h3>{text.label}</h3>
              <p class="prose">{marked(text)}</p>
            </section>
          )
        ),
      )}
      {!editing && row.findings.length > 0 && (
        <section>
          <h3>Private details</h3>
          <ul class="plain-list">
            {row.findings.map((finding) => (
              <li key={finding.id}>
                <span>
                  <strong>{capital(finding.label)}</strong>{' '}
                  <span class="quiet">
                    {finding.preview}
                    {finding.certainty === 'possible' && ' (perhaps)'}
                  </span>
                </span>
                <button type="button" class="button small" disabled={busy} onClick={() => void redact(finding)}>
                  Redact<span class="unseen"> {capital(finding.label)}</span>
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
function marked({ text, findings }: Text): ComponentChildren[] {
  const parts: ComponentChildren[] = [];
  let at = 0;
  for (const finding of [...findings].sort((a, b) => a.start - b.start)) {
    const start = Math.max(at, finding.start);
    const end = Math.min(text.length, finding.end);
    if (end <= start) continue;
    parts.push(text.slice(at, start));
    parts.push(
      <mark key={finding.id} title={finding.label}>
        {text.slice(start, end)}
      </mark>,
    );
    at = end;
  }
  parts.push(text.slice(at));
  return parts;
}
