import { useEffect, useRef, useState } from 'preact/hooks';
import type { ExamplePage } from '../../../serve/contract/datasets.js';
import type { Job, JobResult } from '../../../serve/contract/jobs.js';
import { t } from '../../logic/language.js';
import { inWords, lostInWords } from '../../logic/outcome.js';
import { duration, size } from '../../logic/words.js';
import { call } from '../api.js';
import { href } from '../browser.js';
import { askBoth } from '../comparison.js';
import { useAction } from '../server.js';
import { textsOf } from './examples.js';
import { Fault, Icon } from './layout.js';
import { Markdown } from './markdown.js';
import { Lost, NllBars } from './run.js';

/** What a run came to: in a sentence, in three answers before and after, and in figures for those who want them. */

const measured = () => ({
  heldout: t('your test set'),
  validation: t('held-out examples'),
  train: t('the training examples, which were too few to hold any out'),
});

const unseen = () => ({
  heldout: t('Measured on your test set.'),
  validation: t('Measured on examples that it has not seen while it learnt.'),
  train: t('Measured on the examples that it learnt from: there were too few to keep some apart.'),
});

export function ResultCard({ job, result }: { job: Job; result: JobResult }) {
  const { adapter } = job;
  return (
    <section class="sheet result" aria-label={t('Result')}>
      <h2>{t('It has learnt')}</h2>
      <p class="outcome">{inWords(result.nll)}</p>
      <p class="quiet">{unseen()[result.measuredOn]}</p>
      {result.general && <p>{lostInWords(result.general)}</p>}
      <div class="row">
        <a class="button primary" href={adapter ? `${href('chat')}?version=${adapter.version}` : href('chat')}>
          <Icon name="chat" /> {t('Talk to it')}
        </a>
        <a class="button" href={adapter ? href('compare', adapter.version) : href('compare')}>
          <Icon name="compare" /> {t('Compare')}
        </a>
        {adapter && (
          <a class="button" href={href('adapters', adapter.id)}>
            <Icon name="adapters" /> {t('Adapter')}
          </a>
        )}
      </div>
      {adapter && <BeforeAndAfter dataset={job.dataset} model={job.model} version={adapter.version} />}
      <details class="fold inner">
        <summary>{t('Figures')}</summary>
        <NllBars base={result.nll.base} adapted={result.nll.adapted} on={measured()[result.measuredOn]} />
        <Lost general={result.general} />
        <p class="quiet">
          {t('Took {time} and at most {memory} of memory; the adapter is {size}.', {
            time: duration(result.seconds),
            memory: size(result.peakRssBytes),
            size: size(result.bytes),
          })}
        </p>
      </details>
    </section>
  );
}

interface BeforeAndAfterProps {
  dataset: string;
  model: string;
  version: string;
}

interface Pair {
  question: string;
  base: string;
  adapted: string;
}

/** Questions that are asked, and tokens of an answer: so that a phone is done in a minute or two. */
const QUESTIONS = 3;
const TOKENS = 60;

/** Three questions of the examples, answered by the model as it was and as it is now. */
function BeforeAndAfter({ dataset, model, version }: BeforeAndAfterProps) {
  const [pairs, setPairs] = useState<Pair[]>([]);
  const running = useRef<AbortController | undefined>(undefined);
  const { busy, error, run } = useAction();
  useEffect(() => () => running.current?.abort(), []);
  const begin = () =>
    run(async () => {
      const abort = new AbortController();
      running.current = abort;
      const path = `/api/datasets/${dataset}/examples?offset=0&limit=200&filter=all`;
      const { examples } = await call<ExamplePage>('GET', path, { signal: abort.signal });
      const questions = examples
        .filter(({ excluded }) => !excluded)
        .map((row) => textsOf(row).find(({ role }) => role === 'question')?.text ?? '')
        .filter((text) => text !== '' && text.length < 300);
      if (questions.length === 0) throw new Error(t('There is no question among these examples.'));
      // From all over the set.
      const step = Math.max(1, Math.floor(questions.length / QUESTIONS));
      const chosen = questions.filter((_, i) => i % step === step - 1).slice(0, QUESTIONS);
      const done: Pair[] = [];
      for (const question of chosen) {
        let pair: Pair = { question, base: '', adapted: '' };
        const options = { maxTokens: TOKENS, temperature: 0 };
        const body = { prompt: question, model, version, options };
        for await (const { base, adapted } of askBoth(body, abort.signal)) {
          pair = { question, base: base.text, adapted: adapted.text };
          setPairs([...done, pair]);
        }
        done.push(pair);
      }
    });
  return (
    <div class="before-after" aria-busy={busy}>
      {pairs.length === 0 && !busy && (
        <button type="button" class="button" onClick={() => void begin()}>
          <Icon name="eye" /> {t('Show three answers, before and after')}
        </button>
      )}
      {busy && pairs.length === 0 && <p class="loading">{t('Asking both…')}</p>}
      {pairs.map(({ question, base, adapted }) => (
        <section key={question} class="pair-answers">
          <h3>{question}</h3>
          <div class="side">
            <h4>{t('Before')}</h4>
            <Markdown text={base || '…'} />
          </div>
          <div class="side adapted">
            <h4>{t('After')}</h4>
            <Markdown text={adapted || '…'} />
          </div>
        </section>
      ))}
      <Fault error={error} />
    </div>
  );
}
