import { useRef, useState } from 'preact/hooks';
import type { DatasetInfo } from '../../../serve/contract/datasets.js';
import { plural, rich, t } from '../../logic/language.js';
import { call } from '../api.js';
import { announce, go, href } from '../browser.js';
import { readDraft, useDraft } from '../drafts.js';
import { Choice, IconButton, TextField } from '../parts/controls.js';
import { addDataset, DropZone, useTaking } from '../parts/files.js';
import { Fault, Icon, Page } from '../parts/layout.js';
import { learnNext } from '../parts/tuneChoice.js';
import { offerUndo } from '../parts/undo.js';
import { tellChanged, useAction, useResource } from '../server.js';

type Way = 'files' | 'paste' | 'type';

/** The ways to bring examples in; with `into`, to add some to a data set that is there. */
export function AddData({ into }: { into?: string }) {
  // There first is what was begun.
  const begun = into || readDraft('add/type/') ? 'type' : readDraft('add/paste') ? 'paste' : 'files';
  const [way, setWay] = useState<Way>(begun);
  return (
    <Page title={into ? t('Add examples') : t('Add data')} back={into ? href('data', into) : href('data')}>
      {!into && (
        <Choice
          label={t('How')}
          value={way}
          onChange={setWay}
          options={[
            { value: 'files', label: t('Files') },
            { value: 'paste', label: t('Paste') },
            { value: 'type', label: t('Type') },
          ]}
        />
      )}
      {way === 'files' && (
        <>
          <DropZone />
          <details class="fold">
            <summary>{t('What a file looks like')}</summary>
            <p>{t('A list of questions with the answers you would give; “input” may be empty or missing.')}</p>
            <pre>{`[
  {
    "instruction": "When are you open?",
    "input": "",
    "output": "From eight till four,
      not on Wednesdays."
  }
]`}</pre>
            <p>
              {rich(
                'Any table works as well (CSV, JSON Lines): you are asked which column is which. So do chats that WhatsApp or Telegram exported, {code} and {code2}, and texts with lines that begin with {code3} and {code4}.',
                {
                  code: <code>messages</code>,
                  code2: <code>conversations</code>,
                  code3: <code>Q:</code>,
                  code4: <code>A:</code>,
                },
              )}
            </p>
            <p>
              {rich('Other plain text and Markdown ({code}, {code2}) are learnt as they are, every word of them.', {
                code: <code>.txt</code>,
                code2: <code>.md</code>,
              })}
            </p>
          </details>
        </>
      )}
      {way === 'paste' && <Paste />}
      {way === 'type' && <Type into={into} />}
    </Page>
  );
}

/** The name of a new data set; `fallback` if left empty. */
function NameField({ name, fallback, onInput }: { name: string; fallback: string; onInput: (name: string) => void }) {
  return (
    <TextField
      label={t('Name of the data set')}
      value={name}
      placeholder={fallback}
      maxLength={120}
      onInput={onInput}
    />
  );
}

function Paste() {
  const [{ name, text }, setPaste] = useDraft('add/paste', { name: '', text: '' });
  const { take, sending, words } = useTaking();
  const fallback = t('Pasted examples');
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        void take([new File([text], fallback)], name.trim() || fallback).then((made) => {
          // Not what was typed meanwhile.
          if (made.length > 0 && readDraft<{ text: string }>('add/paste')?.text === text)
            setPaste({ name: '', text: '' });
        });
      }}
    >
      <NameField name={name} fallback={fallback} onInput={(next) => setPaste({ name: next, text })} />
      <TextField
        label={t('Text')}
        hint={t('A table copied from a spreadsheet, a chat, lines that begin with Q: and A:, or JSON.')}
        class="mono"
        rows={10}
        value={text}
        spellcheck={false}
        placeholder={'question,answer\nWhen are you open?,From eight till four.'}
        onInput={(next) => setPaste({ name, text: next })}
      />
      {words}
      <button type="submit" class="button primary big" disabled={sending !== undefined || text.trim() === ''}>
        {sending ? t('Adding…') : t('Add')}
      </button>
    </form>
  );
}

const blank = { instruction: '', input: '', output: '' };
/** Of a list that is being typed. */
const nothing = { name: '', example: blank, list: [] as (typeof blank)[] };

function Type({ into }: { into?: string }) {
  const target = useResource(
    into ? (signal) => call<DatasetInfo>('GET', `/api/datasets/${into}`, { signal }) : undefined,
  );
  const draft = `add/type/${into ?? ''}`;
  const [typed, setTyped] = useDraft(draft, nothing);
  /** As it is when something that was begun has come to its end. */
  const latest = () => readDraft<typeof nothing>(draft) ?? nothing;
  const { name, example, list } = typed;
  const question = useRef<HTMLTextAreaElement>(null);
  const { busy, error, run } = useAction();
  const complete = example.instruction.trim() !== '' && example.output.trim() !== '';
  const examples = complete ? [...list, example] : list;
  const fallback = t('Typed examples');
  const addAnother = () => {
    if (!complete) return;
    setTyped({ name, example: blank, list: examples });
    announce(t('Example {n} added', { n: examples.length }));
    question.current?.focus();
  };
  const save = () =>
    run(async () => {
      const bytes = new Blob([JSON.stringify(examples)]);
      const id = into ?? (await addDataset(name.trim() || fallback, bytes)).id;
      if (into) await call('PATCH', `/api/datasets/${into}`, { body: { add: examples } });
      const now = latest();
      setTyped({
        ...nothing,
        example: now.example === example && complete ? blank : now.example,
        list: now.list.filter((one) => !examples.includes(one)),
      });
      learnNext(id);
      tellChanged('datasets');
      announce(t('{examples} saved', { examples: plural(examples.length, '{n} example', '{n} examples') }));
      go('data', id);
    });
  const field = (part: keyof typeof blank) => ({
    value: example[part],
    onInput: (text: string) => setTyped({ ...typed, example: { ...example, [part]: text } }),
  });
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        addAnother();
      }}
    >
      {into ? (
        <p class="quiet">
          {t('These are added to {name}.', { name: target.data ? `“${target.data.name}”` : t('the data set') })}
        </p>
      ) : (
        <NameField name={name} fallback={fallback} onInput={(next) => setTyped({ ...typed, name: next })} />
      )}
      <fieldset class="sheet">
        <legend>{t('Example {index}', { index: list.length + 1 })}</legend>
        <TextField label={t('Someone asks')} rows={2} control={question} {...field('instruction')} />
        <TextField label={t('with this text (optional)')} rows={1} {...field('input')} />
        <TextField label={t('You answer')} rows={3} {...field('output')} />
        <button type="submit" class="button" disabled={!complete}>
          <Icon name="add" /> {t('Add another')}
        </button>
      </fieldset>
      {list.length > 0 && (
        <ul class="plain-list">
          {list.map((one, i) => (
            <li key={`${i}-${one.instruction}`}>
              <span class="clamp">
                <strong>{one.instruction}</strong> {one.output}
              </span>
              <IconButton
                icon="trash"
                label={t('Remove example {n}', { n: i + 1 })}
                onClick={() => {
                  setTyped({ ...typed, list: list.filter((_, j) => j !== i) });
                  offerUndo(t('Example {n} removed', { n: i + 1 }), () => {
                    const now = latest();
                    setTyped({ ...now, list: now.list.toSpliced(i, 0, one) });
                  });
                }}
              />
            </li>
          ))}
        </ul>
      )}
      <Fault error={error} />
      <button
        type="button"
        class="button primary big"
        disabled={busy || examples.length === 0}
        onClick={() => void save()}
      >
        {busy
          ? t('Saving…')
          : examples.length === 0
            ? t('Save')
            : t('Save {examples}', { examples: plural(examples.length, '{n} example', '{n} examples') })}
      </button>
    </form>
  );
}
