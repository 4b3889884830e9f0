import { useRef, useState } from 'preact/hooks';
import type { DatasetInfo } from '../../../serve/contract/datasets.js';
import { plural } from '../../logic/words.js';
import { call } from '../api.js';
import { announce, go, href } from '../browser.js';
import { Choice, IconButton, TextField } from '../parts/controls.js';
import { Fault, Icon, Page } from '../parts/layout.js';
import { tellChanged, useAction, useResource } from '../server.js';
import { addDataset, DropZone } from './DataScreen.js';

type Way = 'files' | 'paste' | 'type';

/** The ways to bring examples in; with `into`, to add some to a data set that is there. */
export function AddData({ into }: { into?: string }) {
  const [way, setWay] = useState<Way>(into ? 'type' : 'files');
  return (
    <Page title={into ? 'Add examples' : 'Add data'} back={into ? href('data', into) : href('data')}>
      {!into && (
        <Choice
          label="How"
          value={way}
          onChange={setWay}
          options={[
            { value: 'files', label: 'Files' },
            { value: 'paste', label: 'Paste' },
            { value: 'type', label: 'Type' },
          ]}
        />
      )}
      {way === 'files' && (
        <>
          <DropZone />
          <details class="fold">
            <summary>What a file looks like</summary>
            <p>A list of questions with the answers you would give; “input” may be empty or missing.</p>
            <pre>{`[
  {
    "instruction": "When are you open?",
    "input": "",
    "output": "From eight till four,
      not on Wednesdays."
  }
]`}</pre>
            <p>
              JSON Lines and CSV with a header row work as well: <code>instruction,input,output</code>, or{' '}
              <code>question,answer</code>, <code>prompt,completion</code>. So do chats: <code>messages</code> and{' '}
              <code>conversations</code>.
            </p>
            <p>
              Plain text and Markdown (<code>.txt</code>, <code>.md</code>) are learnt as they are, every word of them.
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
    <TextField label="Name of the data set" value={name} placeholder={fallback} maxLength={120} onInput={onInput} />
  );
}

function Paste() {
  const [name, setName] = useState('');
  const [text, setText] = useState('');
  const { busy, error, run } = useAction();
  const fallback = 'Pasted examples';
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        void run(async () => {
          const made = await addDataset(name.trim() || fallback, new Blob([text]));
          tellChanged('datasets');
          announce(`${plural(made.examples, 'example')} added`);
          go('data', made.id);
        });
      }}
    >
      <NameField name={name} fallback={fallback} onInput={setName} />
      <TextField
        label="Text"
        hint="JSON, JSON Lines, or a table with a header row copied from a spreadsheet."
        class="mono"
        rows={10}
        value={text}
        spellcheck={false}
        placeholder={'question,answer\nWhen are you open?,From eight till four.'}
        onInput={setText}
      />
      <Fault error={error} />
      <button type="submit" class="button primary big" disabled={busy || text.trim() === ''}>
        {busy ? 'Adding…' : 'Add'}
      </button>
    </form>
  );
}

const blank = { instruction: '', input: '', output: '' };

function Type({ into }: { into?: string }) {
  const target = useResource(
    into ? (signal) => call<DatasetInfo>('GET', `/api/datasets/${into}`, { signal }) : undefined,
  );
  const [name, setName] = useState('');
  const [example, setExample] = useState(blank);
  const [list, setList] = useState<(typeof blank)[]>([]);
  const question = useRef<HTMLTextAreaElement>(null);
  const { busy, error, run } = useAction();
  const complete = example.instruction.trim() !== '' && example.output.trim() !== '';
  const examples = complete ? [...list, example] : list;
  const fallback = 'Typed examples';
  const addAnother = () => {
    if (!complete) return;
    setList(examples);
    setExample(blank);
    announce(`Example ${examples.length} added`);
    question.current?.focus();
  };
  const save = () =>
    run(async () => {
      const bytes = new Blob([JSON.stringify(examples)]);
      const id = into ?? (await addDataset(name.trim() || fallback, bytes)).id;
      if (into) await call('PATCH', `/api/datasets/${into}`, { body: { add: examples } });
      tellChanged('datasets');
      announce(`${plural(examples.length, 'example')} saved`);
      go('data', id);
    });
  const field = (part: keyof typeof blank) => ({
    value: example[part],
    onInput: (text: string) => setExample({ ...example, [part]: text }),
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
        <p class="quiet">These are added to {target.data ? `“${target.data.name}”` : 'the data set'}.</p>
      ) : (
        <NameField name={name} fallback={fallback} onInput={setName} />
      )}
      <fieldset class="sheet">
        <legend>Example {list.length + 1}</legend>
        <TextField label="Someone asks" rows={2} control={question} {...field('instruction')} />
        <TextField label="with this text (optional)" rows={1} {...field('input')} />
        <TextField label="You answer" rows={3} {...field('output')} />
        <button type="submit" class="button" disabled={!complete}>
          <Icon name="add" /> Add another
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
                label={`Remove example ${i + 1}`}
                onClick={() => setList(list.filter((_, j) => j !== i))}
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
        {busy ? 'Saving…' : examples.length === 0 ? 'Save' : `Save ${plural(examples.length, 'example')}`}
      </button>
    </form>
  );
}
