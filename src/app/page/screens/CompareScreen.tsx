import { useEffect, useRef, useState } from 'preact/hooks';
import type { CompareEvent } from '../../../serve/contract/chat.js';
import type { ExamplePage } from '../../../serve/contract/datasets.js';
import { t } from '../../logic/language.js';
import { baseTitle, speakerOf, versionsOf } from '../../logic/speakers.js';
import { ask, call } from '../api.js';
import { announce, href } from '../browser.js';
import { useDraft } from '../drafts.js';
import { TextField } from '../parts/controls.js';
import { ChatTabs, Feedback, SpeakerPicker, sourceOf, Thought, useSpeakers } from '../parts/conversation.js';
import { textsOf } from '../parts/examples.js';
import { Empty, Fault, Icon, Page, Pending } from '../parts/layout.js';
import { Markdown } from '../parts/markdown.js';
import { Lost, NllBars } from '../parts/run.js';
import { useAction, useResource } from '../server.js';

type Side = 'base' | 'adapted';
type Answers = Record<Side, { text: string; thought: string }>;

const none = { text: '', thought: '' };

/** The base model and a version of an adapter answer the same question, side by side. */
export function CompareScreen({ version }: { version?: string }) {
  const { pending, ready, adapters, models, pick, ...speakers } = useSpeakers(version);
  const [prompt, setPrompt] = useDraft('compare', '');
  const [asked, setAsked] = useState('');
  const [answers, setAnswers] = useState<Answers>();
  const [answered, setAnswered] = useState(false);
  const { busy, error, run } = useAction();
  const running = useRef<AbortController | undefined>(undefined);
  useEffect(() => () => running.current?.abort(), []);

  const chosen = speakers.chosen ?? versionsOf(adapters)[0];
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
    if (!chosen || question.trim() === '') return;
    running.current?.abort();
    const abort = new AbortController();
    running.current = abort;
    setAsked(question);
    setAnswered(false);
    let state: Answers = { base: none, adapted: none };
    setAnswers(state);
    void run(async () => {
      const body = { prompt: question, ...speakerOf(chosen, models), options: {} };
      for await (const event of ask<CompareEvent>('/api/compare', body, abort.signal)) {
        if (event.type === 'text' || event.type === 'thought') {
          const { side, type, text } = event;
          state = { ...state, [side]: { ...state[side], [type]: state[side][type] + text } };
          setAnswers(state);
        } else if (event.type === 'done' || event.side === 'adapted') setAnswered(true);
      }
      announce(
        t('Base model: {base}. With your adapter: {adapted}', { base: state.base.text, adapted: state.adapted.text }),
      );
    });
  };

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
        onChange={(next) => {
          pick(next);
          setAnswers(undefined);
        }}
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
        {busy ? (
          <button type="button" class="button" onClick={() => running.current?.abort()}>
            <Icon name="stop" /> {t('Stop')}
          </button>
        ) : (
          <button type="submit" class="button primary" disabled={prompt.trim() === ''}>
            {t('Ask both')}
          </button>
        )}
      </form>
      <Fault error={error} />
      {answers && (
        <div class="sides" aria-busy={busy}>
          <section class="side">
            <h2>
              {t('Base model')} <small>{baseTitle(chosen.adapter, models)}</small>
            </h2>
            <Answer {...answers.base} busy={busy} />
          </section>
          <section class="side adapted">
            <h2>
              {chosen.adapter.name} <small>{t('version {number}', { number: chosen.version.number })}</small>
            </h2>
            <Answer {...answers.adapted} busy={busy} />
            {answered && (
              <Feedback key={answers.adapted.text} prompt={asked} answer={answers.adapted.text} dataset={source} />
            )}
          </section>
        </div>
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

function Answer({ text, thought, busy }: Answers[Side] & { busy: boolean }) {
  return (
    <>
      <Thought text={thought} open={text === ''} />
      <div class="answer">{text === '' ? busy && '…' : <Markdown text={text} />}</div>
    </>
  );
}
