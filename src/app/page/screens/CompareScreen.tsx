import { useEffect, useRef } from 'preact/hooks';
import type { ExamplePage } from '../../../serve/contract/datasets.js';
import { t } from '../../logic/language.js';
import { baseTitle, speakerOf, versionsOf } from '../../logic/speakers.js';
import { call } from '../api.js';
import { announce, href } from '../browser.js';
import { type SideAnswer, useComparison } from '../comparison.js';
import { useDraft } from '../drafts.js';
import { IconButton, TextField } from '../parts/controls.js';
import { ChatTabs, Feedback, SpeakerPicker, sourceOf, Thought, useSpeakers } from '../parts/conversation.js';
import { textsOf } from '../parts/examples.js';
import { Empty, Fault, Icon, Page, Pending } from '../parts/layout.js';
import { Markdown } from '../parts/markdown.js';
import { Lost, NllBars } from '../parts/run.js';
import { useAction, useResource } from '../server.js';

/** The base model and a version of an adapter answer the same question, side by side. */
export function CompareScreen({ version }: { version?: string }) {
  const { pending, ready, adapters, models, pick, ...speakers } = useSpeakers(version);
  const [prompt, setPrompt] = useDraft('compare', '');
  const { error, run } = useAction();

  const chosen = speakers.chosen ?? versionsOf(adapters)[0];
  const comparison = useComparison(chosen, models);
  const { compared, busy } = comparison;
  // So that a reload, and coming back, show the same version.
  useEffect(() => {
    // Perhaps the person is on the way to another place.
    if (chosen && location.hash.startsWith(href('compare')))
      history.replaceState(history.state, '', href('compare', chosen.version.id));
  }, [chosen?.version.id]);
  const source = sourceOf(chosen);
  const ideas = useResource(
    source
      ? (signal) => call<ExamplePage>('GET', `/api/datasets/${source}/examples?offset=0&limit=4&filter=all`, { signal })
      : undefined,
    [],
    [source],
  );
  const questions = (ideas.data?.examples ?? [])
    .map((row) => textsOf(row).find(({ role }) => role === 'question')?.text ?? '')
    .filter((text) => text !== '' && text.length < 160)
    .slice(0, 3);

  const askBoth = (question: string) => {
    if (question.trim() !== '') void run(() => comparison.ask(question));
  };
  /** The asking whose answers were seen to come. */
  const seen = useRef<number | undefined>(undefined);
  useEffect(() => {
    if (busy) seen.current = compared?.at;
    else if (compared?.at === seen.current && compared?.adapted.end && compared.base.end) {
      const [base, adapted] = [compared.base.text, compared.adapted.text];
      announce(t('Base model: {base}. With your adapter: {adapted}', { base, adapted }));
    }
  }, [busy, compared?.at]);

  if (!ready || !chosen) {
    return (
      <Page title={t('Compare')}>
        <ChatTabs here="compare" />
        <Pending of={pending} />
        {ready && (
          <Empty title={t('Nothing to compare yet')} sprout>
            <p>{t('Here the base model and your adapter answer the same question, side by side.')}</p>
            <a class="button primary" href={href('tune')}>
              <Icon name="tune" /> {t('Tune')}
            </a>
          </Empty>
        )}
      </Page>
    );
  }
  const nll = chosen.version.metrics?.nll;
  return (
    <Page title={t('Compare')} wide>
      <ChatTabs here="compare" />
      <SpeakerPicker
        label={t('Compare with the base model')}
        speaker={speakerOf(chosen, models)}
        models={models}
        adapters={adapters}
        onChange={pick}
      />
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          askBoth(prompt);
        }}
      >
        <TextField
          label={t('Question')}
          rows={2}
          value={prompt}
          onInput={setPrompt}
          onKeyDown={(event) => {
            if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
              event.preventDefault();
              askBoth(prompt);
            }
          }}
        />
        {prompt === '' && questions.length > 0 && (
          <div class="row">
            {questions.map((text) => (
              <button key={text} type="button" class="idea" onClick={() => setPrompt(text)}>
                <span class="clamp-1">{text}</span>
              </button>
            ))}
          </div>
        )}
        {/* With keys: were it one element that changes, the press that stops would send the form. */}
        {busy ? (
          <button key="stop" type="button" class="button" onClick={comparison.stop}>
            <Icon name="stop" /> {t('Stop')}
          </button>
        ) : (
          <button key="ask" type="submit" class="button primary" disabled={prompt.trim() === ''}>
            {t('Ask both')}
          </button>
        )}
      </form>
      <Fault error={error} />
      {compared && (
        <>
          <div class="row">
            <p class="prose">
              <span class="unseen">{t('You:')} </span>
              {compared.question}
            </p>
            {!busy && <IconButton icon="again" label={t('Ask again')} onClick={() => askBoth(compared.question)} />}
          </div>
          <div class="sides" aria-busy={busy}>
            <section class="side">
              <h2>
                {t('Base model')} <small>{baseTitle(chosen.adapter, models)}</small>
              </h2>
              <Answer {...compared.base} busy={busy} />
            </section>
            <section class="side adapted">
              <h2>
                {chosen.adapter.name} <small>{t('version {number}', { number: chosen.version.number })}</small>
              </h2>
              <Answer {...compared.adapted} busy={busy} />
              {compared.adapted.text !== '' && !(busy && !compared.adapted.end) && (
                <Feedback
                  key={compared.at}
                  name={`${chosen.adapter.id}/${chosen.version.id}/${compared.at}`}
                  prompt={compared.question}
                  answer={compared.adapted.text}
                  dataset={source}
                  mark={compared}
                  onRated={comparison.rate}
                />
              )}
            </section>
          </div>
        </>
      )}
      {nll && (
        <section class="sheet">
          <NllBars base={nll.base} adapted={nll.adapted} />
          <Lost general={chosen.version.metrics?.general} />
        </section>
      )}
    </Page>
  );
}

function Answer({ text, thought, end, busy }: SideAnswer & { busy: boolean }) {
  const isGiven = busy && !end;
  return (
    <>
      <Thought text={thought} open={text === ''} />
      <div class="answer">{text === '' ? isGiven && '…' : <Markdown text={text} />}</div>
      {!isGiven && (!end || end === 'length') && <p class="cut">{t('This answer was cut off.')}</p>}
    </>
  );
}
