import { useState } from 'preact/hooks';
import type { DatasetInfo, DatasetLook } from '../../../serve/contract/datasets.js';
import { plural, t } from '../../logic/language.js';
import { ApiError, upload } from '../api.js';
import { announce, go } from '../browser.js';
import { tellChanged } from '../server.js';
import { useFilePicker } from './controls.js';
import { Bar, Fault, Icon } from './layout.js';
import { LookDialog, lookAtFile } from './look.js';
import { learnNext } from './tuneChoice.js';

/** Files, and pasted text, on their way into data sets. */

/** The server's limit as well. */
const MOST_BYTES = 200e6;
const extensions = ['.json', '.jsonl', '.ndjson', '.csv', '.tsv', '.txt', '.md', '.markdown', '.zip'];
/** Those that a sentence answers can be picked, too. */
const answered = ['.xlsx', '.xls', '.ods', '.docx', '.pdf'];
const types = ['application/json', 'text/csv', 'text/plain', 'text/markdown', 'application/zip'];
const accepted = [...extensions, ...answered, ...types].join();

/** What to do with files that people have and Loam does not read. */
function insteadOf(name: string): string | undefined {
  if (/\.(xlsx?|ods|numbers)$/i.test(name)) {
    return t(
      'Spreadsheets are not read as they are: save the sheet as CSV (File, Save as or Download), and pick that file.',
    );
  }
  if (/\.(docx?|odt|pages|rtf|pdf)$/i.test(name)) {
    return t('Documents are not read as they are: save the text as a plain text file (.txt), and pick that file.');
  }
  return undefined;
}

/** A chat with its pictures, of which the chat alone is read. */
const isArchive = ({ name }: File) => /\.zip$/i.test(name);

/** Larger files are taken as they are, if their own names say how they are read. */
const MOST_LOOKED_AT = 20e6;

interface Sending {
  name: string;
  share: number;
  stop: AbortController;
}

interface Asking {
  file: File;
  look: DatasetLook;
  /** With the columns to be read, or without if the file is not to be taken. */
  answer: (columns?: string) => void;
}

/** Takes files into data sets, and asks where a file does not say how it is to be read. */
export function useTaking() {
  const [sending, setSending] = useState<Sending>();
  const [errors, setErrors] = useState<{ name: string; error: Error }[]>([]);
  const [asking, setAsking] = useState<Asking>();

  /** How a file is to be read: as its own names say (''), or as the person does; undefined if it is not to be taken. */
  const columnsFor = async (file: File, signal: AbortSignal): Promise<string | undefined> => {
    const look = await lookAtFile(file, undefined, signal);
    if (isClear(look)) return '';
    setSending(undefined);
    return await new Promise((resolve) =>
      setAsking({
        file,
        look,
        answer: (columns) => {
          setAsking(undefined);
          resolve(columns);
        },
      }),
    );
  };

  /** @returns what was added */
  const take = async (files: readonly File[], named?: string): Promise<DatasetInfo[]> => {
    setErrors([]);
    const made: DatasetInfo[] = [];
    for (const file of files) {
      const { name } = file;
      const stop = new AbortController();
      setSending({ name, share: 0, stop });
      try {
        if (file.size > MOST_BYTES)
          throw new Error(
            isArchive(file)
              ? t('Larger than 200 MB: export the chat without its media.')
              : t('Larger than 200 MB: split it, or leave some examples out.'),
          );
        if (file.size === 0) throw new Error(t('The file is empty.'));
        const instead = insteadOf(name);
        if (instead) throw new Error(instead);
        const columns = file.size > MOST_LOOKED_AT && !isArchive(file) ? '' : await columnsFor(file, stop.signal);
        if (columns === undefined) continue;
        const onProgress = (share: number) => setSending({ name, share, stop });
        const more = { columns: columns || undefined, onProgress, signal: stop.signal };
        made.push(await addDataset(named ?? bareName(name), file, more));
      } catch (error) {
        if (!stop.signal.aborted) setErrors((old) => [...old, { name, error: error as Error }]);
      }
    }
    setSending(undefined);
    if (made.length > 0) {
      learnNext(made.at(-1)!.id);
      announce(t('{sets} added', { sets: plural(made.length, '{n} data set', '{n} data sets') }));
      tellChanged('datasets');
    }
    if (made.length === 1 && files.length === 1) go('data', made[0]!.id);
    return made;
  };

  const words = (
    <>
      {asking && <LookDialog key={asking.file.name} {...asking} />}
      {errors.map(({ name, error }) => (
        <div key={name}>
          <p class="fault-file">{name}</p>
          <Fault error={error} />
        </div>
      ))}
    </>
  );
  return { take, sending, words };
}

/** Nothing of it is a guess, and nothing is left out. */
function isClear({ guessed, chat, problem, table }: DatasetLook): boolean {
  if (guessed || chat || problem !== undefined) return false;
  const used = new Set(Object.values(table?.chosen ?? {}));
  return used.size === 0 || table!.columns.every(({ name }) => used.has(name));
}

/** Takes files that are dropped on it, or picked. Each becomes a data set. */
export function DropZone() {
  const [over, setOver] = useState(false);
  const { take, sending, words } = useTaking();
  const { input, pick } = useFilePicker((files) => void take(files), { accept: accepted, multiple: true });

  return (
    <>
      <section
        aria-label={t('Files')}
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
              {sending.share < 1 ? t('Uploading') : t('Reading and encrypting')} <strong>{sending.name}</strong>
            </p>
            <Bar
              share={sending.share < 1 ? sending.share : undefined}
              label={t('Uploading {name}', { name: sending.name })}
            />
            <button type="button" class="button small" onClick={() => sending.stop.abort()}>
              {t('Cancel')}
            </button>
          </>
        ) : (
          <>
            <Icon name="import" size={30} />
            <p>
              <button type="button" class="link strong" onClick={pick}>
                {t('Pick files')}
              </button>{' '}
              <span class="fine-pointer">{t('or drop them here')}</span>
            </p>
            <p class="quiet">
              {t('Tables (CSV), chats from WhatsApp or Telegram, JSON, plain text or Markdown. Up to 200 MB.')}
            </p>
          </>
        )}
        {input}
      </section>
      {words}
    </>
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
