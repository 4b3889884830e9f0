import { useState } from 'preact/hooks';
import type { DatasetInfo } from '../../logic/types.js';
import { announce } from '../announce.js';
import { call } from '../api.js';
import { tellChanged, useResource } from '../live.js';
import { Dialog } from './Dialog.js';
import { Fault } from './Fault.js';
import { Field } from './Field.js';
import { Icon } from './Icon.js';

interface Props {
  prompt: string;
  answer: string;
  /** Where an example would go by default. */
  dataset?: string;
}

/** A thumb for an answer. It becomes a training example only if the person says so, with the words they want. */
export function Feedback({ prompt, answer, dataset }: Props) {
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
}: Props & { rating: 'up' | 'down'; onClose: () => void; onKept: () => void }) {
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
