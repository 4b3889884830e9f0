import { useState } from 'preact/hooks';
import type { Adapter, AdapterVersion } from '../../../serve/contract/adapters.js';
import type { Conversation } from '../../../serve/contract/chat.js';
import type { DatasetInfo } from '../../../serve/contract/datasets.js';
import type { ModelEntry } from '../../../serve/contract/models.js';
import { call, when } from '../api.js';
import { announce, go, href } from '../browser.js';
import { tellChanged, useResource } from '../live.js';
import { Confirm, Dialog } from './dialogs.js';
import { Field } from './fields.js';
import { Fault, Icon } from './layout.js';

/** Earlier conversations: a column beside the chat, or with `onClose` a dialog. */
export function ConversationList({ here, onClose }: { here?: string; onClose?: () => void }) {
  const { data, error } = useResource(
    (signal) => call<{ conversations: Conversation[] }>('GET', '/api/conversations', { signal }),
    ['conversations'],
  );
  const [deleting, setDeleting] = useState<Conversation>();
  const list = data?.conversations ?? [];
  const content = (
    <>
      <Fault error={error} />
      {data && list.length === 0 && <p class="quiet">No conversations yet.</p>}
      <ul class="conversations">
        {list.map((one) => (
          <li key={one.id} class={one.id === here ? 'here' : undefined}>
            <a href={href('chat', one.id)} aria-current={one.id === here ? 'true' : undefined} onClick={onClose}>
              <span class="clamp-1">{one.title}</span>
              <small class="quiet">{when(one.changedAt)}</small>
            </a>
            <button
              type="button"
              class="icon-button"
              aria-label={`Delete the conversation ${one.title}`}
              onClick={() => setDeleting(one)}
            >
              <Icon name="trash" size={18} />
            </button>
          </li>
        ))}
      </ul>
      {deleting && (
        <Confirm
          title="Delete the conversation"
          verb="Delete"
          danger
          onClose={() => setDeleting(undefined)}
          onConfirm={async () => {
            await call('DELETE', `/api/conversations/${deleting.id}`);
            if (deleting.id === here) go('chat');
            tellChanged('conversations');
          }}
        >
          <p>“{deleting.title}” is destroyed.</p>
        </Confirm>
      )}
    </>
  );
  if (!onClose) {
    return (
      <>
        <h2>Conversations</h2>
        {content}
      </>
    );
  }
  return (
    <Dialog title="Conversations" onClose={onClose}>
      {content}
    </Dialog>
  );
}

interface FeedbackProps {
  prompt: string;
  answer: string;
  /** Where an example would go by default. */
  dataset?: string;
}

/** A thumb for an answer. It becomes a training example only if the person says so, with the words they want. */
export function Feedback({ prompt, answer, dataset }: FeedbackProps) {
  const [rating, setRating] = useState<'up' | 'down'>();
  const [kept, setKept] = useState(false);
  const [open, setOpen] = useState(false);
  const rate = (next: 'up' | 'down') => {
    setRating(next);
    setOpen(true);
  };
  return (
    <div class="feedback">
      <button
        type="button"
        class="icon-button"
        aria-label="Good answer"
        aria-pressed={rating === 'up'}
        onClick={() => rate('up')}
      >
        <Icon name="up" size={20} />
      </button>
      <button
        type="button"
        class="icon-button"
        aria-label="Bad answer"
        aria-pressed={rating === 'down'}
        onClick={() => rate('down')}
      >
        <Icon name="down" size={20} />
      </button>
      {kept && <span class="quiet">kept for the next tuning</span>}
      {open && rating && (
        <Keep
          prompt={prompt}
          answer={answer}
          rating={rating}
          dataset={dataset}
          onClose={() => setOpen(false)}
          onKept={() => setKept(true)}
        />
      )}
    </div>
  );
}

function Keep({
  prompt,
  answer,
  rating,
  dataset,
  onClose,
  onKept,
}: FeedbackProps & { rating: 'up' | 'down'; onClose: () => void; onKept: () => void }) {
  const sets = useResource((signal) => call<{ datasets: DatasetInfo[] }>('GET', '/api/datasets', { signal }), []);
  const [text, setText] = useState(rating === 'up' ? answer : '');
  const [target, setTarget] = useState(dataset);
  const [error, setError] = useState<Error>();
  const list = sets.data?.datasets ?? [];
  const into = list.find(({ id }) => id === target)?.id ?? list[0]?.id;
  const send = async (keepAsExample: boolean) => {
    setError(undefined);
    try {
      await call('POST', '/api/feedback', {
        body: {
          prompt,
          answer,
          rating,
          keepAsExample,
          ...(keepAsExample && text !== answer && { correction: text }),
          ...(keepAsExample && into && { dataset: into }),
        },
      });
      if (keepAsExample) {
        onKept();
        tellChanged('datasets');
        announce('Kept for the next tuning');
      }
      onClose();
    } catch (caught) {
      setError(caught as Error);
    }
  };
  return (
    <Dialog
      title={rating === 'up' ? 'A good answer' : 'What should it have said?'}
      onClose={onClose}
      actions={
        <>
          <button type="button" class="button" onClick={() => void send(false)}>
            Only rate it
          </button>
          <button type="button" class="button primary" disabled={text.trim() === ''} onClick={() => void send(true)}>
            Keep as example
          </button>
        </>
      }
    >
      <p>Shall this be an example for the next tuning? It is kept, encrypted, with your other examples.</p>
      <section class="passage question">
        <h3>Someone asks</h3>
        <p class="prose">{prompt}</p>
      </section>
      <Field label="The answer to learn">
        {(ids) => <textarea {...ids} rows={4} value={text} onInput={(event) => setText(event.currentTarget.value)} />}
      </Field>
      {list.length > 1 && (
        <Field label="Into the set">
          {(ids) => (
            <select {...ids} value={into} onChange={(event) => setTarget(event.currentTarget.value)}>
              {list.map(({ id, name }) => (
                <option key={id} value={id}>
                  {name}
                </option>
              ))}
            </select>
          )}
        </Field>
      )}
      <Fault error={error} />
    </Dialog>
  );
}

/** What one talks to: a model, and one version of an adapter of it, or none. */
export interface Speaker {
  model: string;
  version: string | null;
}

interface VersionPickerProps {
  label: string;
  speaker: Speaker | undefined;
  models: ModelEntry[];
  adapters: Adapter[];
  /** The bare models stand in the list too. */
  withBase: boolean;
  onChange: (speaker: Speaker) => void;
}

export function VersionPicker({ label, speaker, models, adapters, withBase, onChange }: VersionPickerProps) {
  return (
    <Field label={label}>
      {(ids) => (
        <select
          {...ids}
          value={speaker ? keyOf(speaker) : ''}
          onChange={(event) => onChange(JSON.parse(event.currentTarget.value) as Speaker)}
        >
          {withBase && (
            <optgroup label="Bare models">
              {models.map(({ name, title }) => (
                <option key={name} value={keyOf({ model: name, version: null })}>
                  {title}
                </option>
              ))}
            </optgroup>
          )}
          {adapters.map((adapter) => (
            <optgroup key={adapter.id} label={adapter.name}>
              {adapter.versions.map((version) => (
                <option key={version.id} value={keyOf({ model: modelOf(adapter, models), version: version.id })}>
                  {adapter.name}, version {version.number}
                  {version.id === adapter.active ? ' (in use)' : ''}
                </option>
              ))}
            </optgroup>
          ))}
        </select>
      )}
    </Field>
  );
}

function keyOf({ model, version }: Speaker): string {
  return JSON.stringify({ model, version });
}

/** The version asked for, else the one in use that is newest, else the bare model. */
export function chooseSpeaker(
  adapters: readonly Adapter[],
  models: readonly ModelEntry[],
  wanted?: string,
): Speaker | undefined {
  const all = adapters.flatMap((adapter) => adapter.versions.map((version) => ({ adapter, version })));
  const asked = all.find(({ version }) => version.id === wanted);
  const used = all
    .filter(({ adapter, version }) => adapter.active === version.id)
    .sort((a, b) => b.version.createdAt.localeCompare(a.version.createdAt))[0];
  const chosen = asked ?? used;
  if (chosen) return { model: modelOf(chosen.adapter, models), version: chosen.version.id };
  return models[0] && { model: models[0].name, version: null };
}

/** An adapter names its base as the model file calls itself; what it must be is told by the hash. */
export function belongsTo({ model }: Adapter, { name, sha256 }: ModelEntry): boolean {
  return sha256 === null ? model.name === name : model.sha256 === sha256;
}

/** The name under which the server knows the base model of an adapter. */
export function modelOf(adapter: Adapter, models: readonly ModelEntry[]): string {
  return models.find((model) => belongsTo(adapter, model))?.name ?? adapter.model.name;
}

export function findVersion(
  adapters: readonly Adapter[],
  id: string | null | undefined,
): { adapter: Adapter; version: AdapterVersion } | undefined {
  for (const adapter of adapters) {
    const version = adapter.versions.find((one) => one.id === id);
    if (version) return { adapter, version };
  }
  return undefined;
}
