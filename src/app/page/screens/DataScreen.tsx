import { useRef, useState } from 'preact/hooks';
import { count } from '../../../base/format.js';
import type { DatasetInfo } from '../../../serve/contract/datasets.js';
import { plural, size, when } from '../../logic/words.js';
import { ApiError, upload } from '../api.js';
import { announce, go, href } from '../browser.js';
import { Select } from '../parts/controls.js';
import { Bar, Card, Empty, Fault, Icon, Page, Pending } from '../parts/layout.js';
import { tellChanged, useList } from '../server.js';

export function DataScreen() {
  const sets = useList('datasets');
  return (
    <Page
      title="Data"
      actions={
        <a class="button primary" href={href('data', 'add')}>
          <Icon name="add" /> Add
        </a>
      }
    >
      <Pending of={[sets]} />
      {sets.data?.length === 0 && (
        <Empty title="No examples yet">
          <p>
            Show Loam how you answer: a file of questions and answers, a table, a chat log, or a few lines typed by
            hand. Everything is encrypted on this device and goes nowhere else.
          </p>
        </Empty>
      )}
      {sets.data && (
        <ul class="cards">
          {sets.data.map((set) => (
            <Card
              key={set.id}
              to={href('data', set.id)}
              title={set.name}
              about={`${plural(set.examples, 'example')} · ${size(set.bytes)} · ${when(set.createdAt)}`}
            >
              {set.records > set.examples && (
                <span class="chip warn">{count(set.records - set.examples)} not usable</span>
              )}
              {(set.findings?.total ?? 0) > 0 && (
                <span class="chip bad">
                  <Icon name="eye" size={15} /> {plural(set.findings!.total, 'private detail')}
                </span>
              )}
              {set.excluded > 0 && <span class="chip">{count(set.excluded)} left out</span>}
            </Card>
          ))}
        </ul>
      )}
      <DropZone />
    </Page>
  );
}

/** The server's limit as well. */
const MOST_BYTES = 200e6;
const extensions = ['.json', '.jsonl', '.ndjson', '.csv', '.tsv', '.txt', '.md', '.markdown'];
const accepted = [...extensions, 'application/json', 'text/csv', 'text/plain', 'text/markdown'].join();

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
  const [errors, setErrors] = useState<{ file: File; error: Error }[]>([]);

  const take = async (files: readonly File[], columns?: string) => {
    setErrors([]);
    const made: DatasetInfo[] = [];
    for (const file of files) {
      const { name } = file;
      const stop = new AbortController();
      setSending({ name, share: 0, stop });
      try {
        if (file.size > MOST_BYTES) throw new Error('Larger than 200 MB: split it, or leave some examples out.');
        if (file.size === 0) throw new Error('The file is empty.');
        const onProgress = (share: number) => setSending({ name, share, stop });
        made.push(await addDataset(bareName(name), file, { columns, onProgress, signal: stop.signal }));
      } catch (error) {
        if (!stop.signal.aborted) setErrors((old) => [...old, { file, error: error as Error }]);
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
              {sending.share < 1 ? 'Uploading' : 'Reading and encrypting'} <strong>{sending.name}</strong>
            </p>
            <Bar share={sending.share < 1 ? sending.share : undefined} label={`Uploading ${sending.name}`} />
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
            <p class="quiet">
              JSON, JSON Lines or CSV; chats exported as ShareGPT or OpenAI messages; plain text or Markdown. Up to
              200&nbsp;MB.
            </p>
          </>
        )}
        <input
          ref={input}
          type="file"
          multiple
          hidden
          accept={accepted}
          onChange={(event) => {
            const files = [...(event.currentTarget.files ?? [])];
            event.currentTarget.value = '';
            void take(files);
          }}
        />
      </section>
      {errors.map(({ file, error }) => (
        <div key={file.name}>
          <p class="fault-file">{file.name}</p>
          <Fault error={error} />
          {error instanceof ApiError && error.choices && (
            <ColumnsForm names={error.choices} onChosen={(columns) => void take([file], columns)} />
          )}
        </div>
      ))}
    </>
  );
}

/** The person says which of a file's fields is the question and which the answer. */
function ColumnsForm({ names, onChosen }: { names: readonly string[]; onChosen: (columns: string) => void }) {
  const [question, setQuestion] = useState('');
  const [answer, setAnswer] = useState('');
  const options = [{ value: '', label: 'Choose' }, ...names.map((name) => ({ value: name, label: name }))];
  const choose = (label: string, value: string, onChange: (value: string) => void) => (
    <Select label={label} name={label} value={value} options={options} onChange={onChange} />
  );
  return (
    <form
      class="options"
      onSubmit={(event) => {
        event.preventDefault();
        onChosen(`question=${question},answer=${answer}`);
      }}
    >
      {choose('Question', question, setQuestion)}
      {choose('Answer', answer, setAnswer)}
      <button type="submit" class="button primary" disabled={question === '' || answer === '' || question === answer}>
        Read these columns
      </button>
    </form>
  );
}

/** Names that are tried before giving up. */
const TRIES = 20;

/** Stores bytes as a data set; if the name is taken, as "Name 2", "Name 3". */
export async function addDataset(
  name: string,
  bytes: Blob,
  {
    columns,
    onProgress = () => {},
    signal = new AbortController().signal,
  }: { columns?: string; onProgress?: (share: number) => void; signal?: AbortSignal } = {},
): Promise<DatasetInfo> {
  for (let n = 1; ; n++) {
    try {
      const tried = n === 1 ? name : `${name} ${n}`;
      const query = new URLSearchParams({
        name: tried,
        ...(bytes instanceof File && { file: bytes.name }),
        ...(columns !== undefined && { columns }),
      });
      return await upload(`/api/datasets?${query}`, bytes, onProgress, signal);
    } catch (error) {
      if (!(error instanceof ApiError && error.code === 'name-taken') || n >= TRIES) throw error;
    }
  }
}

function bareName(name: string): string {
  const extension = extensions.find((one) => name.toLowerCase().endsWith(one));
  return (extension && name.slice(0, -extension.length)) || name;
}
