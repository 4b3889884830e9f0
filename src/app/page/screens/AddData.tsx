import { useRef, useState } from 'preact/hooks';
import type { DatasetInfo } from '../../../serve/contract/datasets.js';
import { addDataset, call, plural } from '../api.js';
import { announce, go, href } from '../browser.js';
import { tellChanged, useResource } from '../live.js';
import { Choice, Field } from '../parts/fields.js';
import { Bar, Fault, Icon, Page } from '../parts/layout.js';

/** As the server: larger files are refused there too. */
const MOST_BYTES = 200e6;

interface Sending {
  name: string;
  share: number;
  stop: AbortController;
}

/** Takes files that are dropped on it, or picked. Each becomes a data set. */
export function DropZone() {
  const input = useRef<HTMLInputElement>(null);
  const [over, setOver] = useState(false);
  const [sending, setSending] = useState<Sending>();
  const [errors, setErrors] = useState<{ name: string; error: Error }[]>([]);

  const take = async (files: readonly File[]) => {
    setErrors([]);
    const made: DatasetInfo[] = [];
    for (const file of files) {
      const stop = new AbortController();
      setSending({ name: file.name, share: 0, stop });
      try {
        if (file.size > MOST_BYTES) throw new Error('larger than 200 MB: split it, or leave some examples out.');
        if (file.size === 0) throw new Error('the file is empty.');
        const onProgress = (share: number) => setSending({ name: file.name, share, stop });
        made.push(await addDataset(bareName(file.name), file, onProgress, stop.signal));
      } catch (error) {
        if (!stop.signal.aborted) setErrors((old) => [...old, { name: file.name, error: error as Error }]);
      }
    }
    setSending(undefined);
    if (made.length === 0) return;
    announce(`${plural(made.length, 'data set')} added`);
    tellChanged('datasets');
    if (made.length === 1 && files.length === 1) go('data', made[0]!.id);
  };

  return (
    <>
      <section
        aria-label="Files"
        class={over ? 'drop over' : 'drop'}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          event.preventDefault();
          setOver(false);
          void take([...(event.dataTransfer?.files ?? [])]);
        }}
      >
        {sending ? (
          <>
            <p>
              {sending.share < 1 ? 'Taking in' : 'Reading and encrypting'} <strong>{sending.name}</strong>
            </p>
            <Bar share={sending.share < 1 ? sending.share : undefined} label={`Taking in ${sending.name}`} />
            <button type="button" class="button small" onClick={() => sending.stop.abort()}>
              Cancel
            </button>
          </>
        ) : (
          <>
            <Icon name="import" size={30} />
            <p>
              <button type="button" class="link strong" onClick={() => input.current!.click()}>
                Pick files
              </button>{' '}
              <span class="fine-pointer">or drop them here</span>
            </p>
            <p class="quiet">JSON, JSON lines or CSV; chat exports of ShareGPT and OpenAI. Up to 200 MB.</p>
          </>
        )}
        <input
          ref={input}
          type="file"
          multiple
          hidden
          accept=".json,.jsonl,.ndjson,.csv,.tsv,.txt,application/json,text/csv,text/plain"
          onChange={(event) => {
            const files = [...(event.currentTarget.files ?? [])];
            event.currentTarget.value = '';
            void take(files);
          }}
        />
      </section>
      {errors.map(({ name, error }) => (
        <div key={name}>
          <p class="fault-file">{name}</p>
          <Fault error={error} />
        </div>
      ))}
    </>
  );
}

function bareName(name: string): string {
  return name.replace(/\.(json|jsonl|ndjson|csv|tsv|txt)$/i, '') || name;
}

type Way = 'files' | 'paste' | 'type';

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
            <p>A list of questions with the answers you would give; “input” may stay empty or be left out.</p>
            <pre>{`[
  {
    "instruction": "When are you open?",
    "input": "",
    "output": "From eight till four,
      not on Wednesdays."
  }
]`}</pre>
            <p>
              JSON lines, and CSV with a header row, work as well: <code>instruction,input,output</code>, or{' '}
              <code>question,answer</code>, <code>prompt,completion</code>. So do chats: <code>messages</code> and{' '}
              <code>conversations</code>.
            </p>
          </details>
        </>
      )}
      {way === 'paste' && <Paste />}
      {way === 'type' && <Type into={into} />}
    </Page>
  );
}

function Paste() {
  const [name, setName] = useState('');
  const [text, setText] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error>();
  const add = async () => {
    setBusy(true);
    setError(undefined);
    try {
      const made = await addDataset(name.trim() || 'Pasted examples', new Blob([text]));
      tellChanged('datasets');
      announce(`${plural(made.examples, 'example')} added`);
      go('data', made.id);
    } catch (caught) {
      setError(caught as Error);
      setBusy(false);
    }
  };
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        void add();
      }}
    >
      <Field label="Name of the set">
        {(ids) => (
          <input
            {...ids}
            type="text"
            value={name}
            placeholder="Pasted examples"
            maxLength={120}
            onInput={(event) => setName(event.currentTarget.value)}
          />
        )}
      </Field>
      <Field label="Text" hint="JSON, JSON lines, or a table with a header row copied from a spreadsheet.">
        {(ids) => (
          <textarea
            {...ids}
            class="mono"
            rows={10}
            value={text}
            spellcheck={false}
            placeholder={'question,answer\nWhen are you open?,From eight till four.'}
            onInput={(event) => setText(event.currentTarget.value)}
          />
        )}
      </Field>
      <Fault error={error} />
      <button type="submit" class="button primary big" disabled={busy || text.trim() === ''}>
        {busy ? 'Adding…' : 'Add'}
      </button>
    </form>
  );
}

interface Typed {
  instruction: string;
  input: string;
  output: string;
}
const blank: Typed = { instruction: '', input: '', output: '' };

function Type({ into }: { into?: string }) {
  const target = useResource(
    into ? (signal) => call<DatasetInfo>('GET', `/api/datasets/${into}`, { signal }) : undefined,
    [],
  );
  const [name, setName] = useState('');
  const [example, setExample] = useState(blank);
  const [list, setList] = useState<Typed[]>([]);
  const question = useRef<HTMLTextAreaElement>(null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error>();
  const complete = example.instruction.trim() !== '' && example.output.trim() !== '';
  const more = () => {
    if (!complete) return;
    setList([...list, example]);
    setExample(blank);
    announce(`Example ${list.length + 1} noted`);
    question.current?.focus();
  };
  const save = async () => {
    setBusy(true);
    setError(undefined);
    const examples = complete ? [...list, example] : list;
    try {
      const id = into ?? (await create(name.trim() || 'Typed examples', examples)).id;
      if (into) await call('PATCH', `/api/datasets/${into}`, { body: { add: examples } });
      tellChanged('datasets');
      announce(`${plural(examples.length, 'example')} saved`);
      go('data', id);
    } catch (caught) {
      setError(caught as Error);
      setBusy(false);
    }
  };
  const total = list.length + (complete ? 1 : 0);
  const set = (part: Partial<Typed>) => setExample({ ...example, ...part });
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        more();
      }}
    >
      {into ? (
        <p class="quiet">They go into {target.data ? `“${target.data.name}”` : 'the set'}.</p>
      ) : (
        <Field label="Name of the set">
          {(ids) => (
            <input
              {...ids}
              type="text"
              value={name}
              placeholder="Typed examples"
              maxLength={120}
              onInput={(event) => setName(event.currentTarget.value)}
            />
          )}
        </Field>
      )}
      <fieldset class="sheet">
        <legend>Example {list.length + 1}</legend>
        <Field label="Someone asks">
          {(ids) => (
            <textarea
              {...ids}
              ref={question}
              rows={2}
              value={example.instruction}
              onInput={(event) => set({ instruction: event.currentTarget.value })}
            />
          )}
        </Field>
        <Field label="with this text (may stay empty)">
          {(ids) => (
            <textarea
              {...ids}
              rows={1}
              value={example.input}
              onInput={(event) => set({ input: event.currentTarget.value })}
            />
          )}
        </Field>
        <Field label="You answer">
          {(ids) => (
            <textarea
              {...ids}
              rows={3}
              value={example.output}
              onInput={(event) => set({ output: event.currentTarget.value })}
            />
          )}
        </Field>
        <button type="submit" class="button" disabled={!complete}>
          <Icon name="add" /> Another one
        </button>
      </fieldset>
      {list.length > 0 && (
        <ul class="plain-list">
          {list.map((one, i) => (
            <li key={`${i}-${one.instruction}`}>
              <span class="clamp">
                <strong>{one.instruction}</strong> {one.output}
              </span>
              <button
                type="button"
                class="icon-button"
                aria-label={`Remove example ${i + 1}`}
                onClick={() => setList(list.filter((_, j) => j !== i))}
              >
                <Icon name="trash" />
              </button>
            </li>
          ))}
        </ul>
      )}
      <Fault error={error} />
      <button type="button" class="button primary big" disabled={busy || total === 0} onClick={() => void save()}>
        {busy ? 'Saving…' : total === 0 ? 'Save' : `Save ${plural(total, 'example')}`}
      </button>
    </form>
  );
}

function create(name: string, examples: readonly Typed[]): Promise<DatasetInfo> {
  return addDataset(name, new Blob([JSON.stringify(examples)]));
}
