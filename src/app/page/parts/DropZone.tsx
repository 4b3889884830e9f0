import { useRef, useState } from 'preact/hooks';
import type { DatasetInfo } from '../../logic/types.js';
import { addDataset } from '../addDataset.js';
import { announce } from '../announce.js';
import { tellChanged } from '../live.js';
import { plural } from '../readable.js';
import { go } from '../router.js';
import { Bar } from './Bar.js';
import { Fault } from './Fault.js';
import { Icon } from './Icon.js';

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
