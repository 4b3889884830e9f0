import { useId, useState } from 'preact/hooks';
import type { Adapter } from '../../../serve/contract/adapters.js';
import type { SaidMessage } from '../../../serve/contract/chat.js';
import type { ModelEntry } from '../../../serve/contract/models.js';
import { number, t } from '../../logic/language.js';
import {
  type ChosenVersion,
  chooseSpeaker,
  othersOf,
  type Speaker,
  STRENGTHS,
  speakerOf,
  versionsOf,
  withStrength,
} from '../../logic/speakers.js';
import { call } from '../api.js';
import { announce, href } from '../browser.js';
import { useDraft } from '../drafts.js';
import { tellChanged, useAction, useList } from '../server.js';
import { Check, IconButton, Select, TextField } from './controls.js';
import { Dialog } from './dialogs.js';
import { Fault, Pending } from './layout.js';

/** What chat and comparison share: whom one talks to, and what becomes of an answer. */

/** Whom one can talk to; chosen is the one picked, else the wanted version, else the newest in use, else a base model. */
export function useSpeakers(wanted?: string) {
  const pending = [useList('adapters'), useList('models')] as const;
  const [picked, pick] = useState<Speaker>();
  const adapters = pending[0].data ?? [];
  const models = (pending[1].data ?? []).filter(({ installed }) => installed);
  const ready = pending.every(({ data }) => data !== undefined);
  const speaker = picked ?? chooseSpeaker(adapters, models, wanted);
  const chosen = versionsOf(adapters).find(({ version }) => version.id === speaker?.version);
  return { pending: [...pending], ready, adapters, models, speaker, pick, chosen };
}

/** The data set that a version has learnt from, where it is one of the vault. */
export function sourceOf(chosen: ChosenVersion | undefined): string | undefined {
  return chosen?.version.datasets.find(({ id }) => id !== undefined)?.id;
}

interface SpeakerPickerProps {
  label: string;
  speaker: Speaker;
  adapters: readonly Adapter[];
  models: readonly ModelEntry[];
  /** The base models stand in the list too. */
  withBase?: boolean;
  onChange: (speaker: Speaker) => void;
}

export function SpeakerPicker({ label, speaker, adapters, models, withBase, onChange }: SpeakerPickerProps) {
  const keyOf = ({ model, version }: Speaker) => JSON.stringify({ model, version });
  return (
    <Select label={label} value={keyOf(speaker)} onChange={(key) => onChange(JSON.parse(key) as Speaker)}>
      {withBase && (
        <optgroup label={t('Base models')}>
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
            <option key={version.id} value={keyOf(speakerOf({ adapter, version }, models))}>
              {version.id === adapter.active
                ? t('{name}, version {number} (in use)', { name: adapter.name, number: version.number })
                : t('{name}, version {number}', { name: adapter.name, number: version.number })}
            </option>
          ))}
        </optgroup>
      ))}
    </Select>
  );
}

/** Other adapters that answer together with the chosen one, and how strongly each does. */
export function AlsoWorn({ speaker, adapters, models, onChange }: Omit<SpeakerPickerProps, 'label' | 'withBase'>) {
  const others = othersOf(speaker, adapters, models);
  const own = versionsOf(adapters).find(({ version }) => version.id === speaker.version);
  if (others.length === 0 || !own) return null;
  const worn = others.filter(({ strength }) => strength !== undefined);
  const set = (version: string, strength: number | undefined) => onChange(withStrength(speaker, version, strength));
  return (
    <details class="fold inner">
      <summary>
        {worn.length === 0 ? t('Together with other adapters') : t('Together with {worn} more', { worn: worn.length })}
      </summary>
      <div class="stack">
        <Strength name={own.adapter.name} value={speaker.strength ?? 1} onChange={(one) => set(own.version.id, one)} />
        {others.map(({ adapter, version, strength }) => (
          <div key={adapter.id}>
            <Check checked={strength !== undefined} onChange={(on) => set(version.id, on ? 1 : undefined)}>
              {t('{name}, version {number}', { name: adapter.name, number: version.number })}
            </Check>
            {strength !== undefined && (
              <Strength name={adapter.name} value={strength} onChange={(one) => set(version.id, one)} />
            )}
          </div>
        ))}
      </div>
    </details>
  );
}

function Strength({ name, value, onChange }: { name: string; value: number; onChange: (value: number) => void }) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{t('Strength of {name}: {value}', { name, value: number(value, 1) })}</label>
      <input
        id={id}
        type="range"
        {...STRENGTHS}
        value={value}
        onInput={(event) => onChange(Number(event.currentTarget.value))}
      />
    </div>
  );
}

/** On phones the bar at the bottom has one entry for talking; this chooses between its two ways. */
export function ChatTabs({ here }: { here: 'chat' | 'compare' }) {
  return (
    <nav class="tabs narrow-only" aria-label={t('Ways to talk')}>
      <a href={href('chat')} aria-current={here === 'chat' ? 'page' : undefined}>
        {t('Chat')}
      </a>
      <a href={href('compare')} aria-current={here === 'compare' ? 'page' : undefined}>
        {t('Compare')}
      </a>
    </nav>
  );
}

/** What a model thought before an answer. */
export function Thought({ text, open }: { text: string | undefined; open?: boolean }) {
  if (!text) return null;
  return (
    <details class="fold inner" open={open}>
      <summary>{t('The thought before it')}</summary>
      <p class="prose quiet">{text}</p>
    </details>
  );
}

type Mark = Pick<SaidMessage, 'rating' | 'kept'>;
type Rating = NonNullable<Mark['rating']>;

interface FeedbackProps {
  /** Under which what is typed about it lasts. */
  name: string;
  prompt: string;
  answer: string;
  /** The data set that an example goes to by default. */
  dataset?: string;
  /** Where it stands, if it is one of a conversation. */
  said?: { conversation: string; message: number };
  /** What is kept of its rating. */
  mark: Mark;
  onRated: (mark: Mark) => void;
}

const ratings = () => [
  { rating: 'up' as const, label: t('Good answer') },
  { rating: 'down' as const, label: t('Bad answer') },
];
/** A thumb for an answer, which is rated once. It becomes a training example only if the person says so, with the words they want. */
export function Feedback(props: FeedbackProps) {
  const { prompt, answer, said, mark, onRated } = props;
  const [open, setOpen] = useState<Rating>();
  const { error, run } = useAction();
  const takeBack = () =>
    run(async () => {
      await call('POST', '/api/feedback', { body: { prompt, answer, rating: null, keepAsExample: false, ...said } });
      onRated({ rating: undefined });
    });
  return (
    <div class="feedback">
      {ratings().map((one) => (
        <IconButton
          key={one.rating}
          icon={one.rating}
          size={20}
          label={one.label}
          aria-pressed={mark.rating === one.rating}
          onClick={() => (mark.rating === one.rating ? void takeBack() : setOpen(one.rating))}
        />
      ))}
      {mark.kept && <span class="quiet">{t('kept for the next tuning')}</span>}
      <Fault error={error} />
      {open && <KeepAnswer {...props} rating={open} onClose={() => setOpen(undefined)} />}
    </div>
  );
}

interface KeepAnswerProps extends FeedbackProps {
  rating: Rating;
  onClose: () => void;
}

function KeepAnswer({ name, prompt, answer, rating, dataset, said, onRated, onClose }: KeepAnswerProps) {
  const sets = useList('datasets');
  const list = sets.data ?? [];
  const [text, setText] = useDraft(`correction/${rating}/${name}`, rating === 'up' ? answer : '');
  const [target, setTarget] = useState(dataset);
  const { error, run } = useAction();
  const into = list.find(({ id }) => id === target)?.id ?? list[0]?.id;
  const send = (keepAsExample: boolean) =>
    run(async () => {
      const correction = keepAsExample && text !== answer && { correction: text };
      const body = {
        prompt,
        answer,
        rating,
        keepAsExample,
        ...correction,
        ...(keepAsExample && into && { dataset: into }),
        ...said,
      };
      await call('POST', '/api/feedback', { body });
      if (keepAsExample) {
        tellChanged('datasets');
        announce(t('Kept for the next tuning'));
      }
      setText(rating === 'up' ? answer : '');
      onRated({ rating, ...(keepAsExample && { kept: true }) });
      onClose();
    });
  return (
    <Dialog
      title={rating === 'up' ? t('A good answer') : t('What should it have said?')}
      onClose={onClose}
      actions={
        <>
          <button type="button" class="button" onClick={() => void send(false)}>
            {t('Only rate')}
          </button>
          <button
            type="button"
            class="button primary"
            disabled={text.trim() === '' || !sets.data}
            onClick={() => void send(true)}
          >
            {t('Keep as example')}
          </button>
        </>
      }
    >
      <p>{t('Keep this as an example for the next tuning? It is stored, encrypted, with your other examples.')}</p>
      <section class="passage">
        <h3>{t('Someone asks')}</h3>
        <p class="prose">{prompt}</p>
      </section>
      <TextField label={t('The answer to learn')} rows={4} value={text} onInput={setText} />
      <Pending of={[sets]} />
      {list.length > 1 && (
        <Select
          label={t('Add it to')}
          value={into ?? ''}
          onChange={setTarget}
          options={list.map(({ id, name }) => ({ value: id, label: name }))}
        />
      )}
      <Fault error={error} />
    </Dialog>
  );
}
