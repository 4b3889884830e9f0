import { useEffect, useRef, useState } from 'preact/hooks';
import type { Adapter } from '../../../serve/contract/adapters.js';
import type { CompareEvent } from '../../../serve/contract/chat.js';
import type { ExamplePage } from '../../../serve/contract/datasets.js';
import type { ModelEntry } from '../../../serve/contract/models.js';
import { call, isAbort } from '../api.js';
import { announce, href } from '../browser.js';
import { useResource } from '../live.js';
import { chooseSpeaker, Feedback, findVersion, modelOf, type Speaker, VersionPicker } from '../parts/conversation.js';
import { Field } from '../parts/fields.js';
import { ChatTabs, Empty, Fault, Icon, Loading, Page } from '../parts/layout.js';
import { NllBars } from '../parts/run.js';
import { ask } from '../stream.js';
import { textsOf } from './ExampleEditor.js';

interface Answer {
  text: string;
  done: boolean;
}

export function CompareScreen({ version }: { version?: string }) {
  const adapters = useResource(
    (signal) => call<{ adapters: Adapter[] }>('GET', '/api/adapters', { signal }),
    ['adapters'],
  );
  const models = useResource((signal) => call<{ models: ModelEntry[] }>('GET', '/api/models', { signal }), ['models']);
  const [picked, setPicked] = useState<Speaker>();
  const [prompt, setPrompt] = useState('');
  const [asked, setAsked] = useState('');
  const [answers, setAnswers] = useState<{ base: Answer; adapted: Answer }>();
  const [error, setError] = useState<Error>();
  const running = useRef<AbortController | undefined>(undefined);
  const [busy, setBusy] = useState(false);
  useEffect(() => () => running.current?.abort(), []);

  const list = adapters.data?.adapters ?? [];
  const present = models.data?.models.filter((model) => model.installed) ?? [];
  const speaker = picked ?? chooseSpeaker(list, present, version);
  const chosen = findVersion(list, speaker?.version) ?? findVersion(list, list[0]?.versions[0]?.id);
  const source = chosen?.version.datasets.find(({ id }) => id !== undefined)?.id;
  const ideas = useResource(
    source
      ? async (signal) =>
          await call<ExamplePage>('GET', `/api/datasets/${source}/examples?offset=0&limit=4&filter=all`, { signal })
      : undefined,
    [],
    [source],
  );

  const run = async (question: string) => {
    if (!chosen || question.trim() === '') return;
    running.current?.abort();
    const abort = new AbortController();
    running.current = abort;
    setBusy(true);
    setError(undefined);
    setAsked(question);
    let state = { base: { text: '', done: false }, adapted: { text: '', done: false } };
    setAnswers(state);
    try {
      const body = {
        prompt: question,
        model: modelOf(chosen.adapter, present),
        version: chosen.version.id,
        options: {},
      };
      for await (const event of ask<CompareEvent>('/api/compare', body, abort.signal)) {
        if (event.type === 'done') continue;
        const text = state[event.side].text + (event.type === 'text' ? event.text : '');
        state = { ...state, [event.side]: { text, done: event.type === 'side' } };
        setAnswers(state);
      }
      state = { base: { ...state.base, done: true }, adapted: { ...state.adapted, done: true } };
      setAnswers(state);
      announce(`Bare model: ${state.base.text}. With your adapter: ${state.adapted.text}`);
    } catch (caught) {
      if (!isAbort(caught)) setError(caught as Error);
    }
    if (running.current === abort) setBusy(false);
  };

  if (!adapters.data || !models.data) {
    return (
      <Page title="Compare">
        <ChatTabs here="compare" />
        <Fault error={adapters.error ?? models.error} onRetry={() => void adapters.reload()} />
        {!adapters.error && <Loading />}
      </Page>
    );
  }
  if (!chosen) {
    return (
      <Page title="Compare">
        <ChatTabs here="compare" />
        <Empty title="Nothing to compare yet" sprout>
          <p>Here the bare model and your adapter answer the same question, side by side.</p>
          <a class="button primary" href={href('tune')}>
            <Icon name="tune" /> Tune
          </a>
        </Empty>
      </Page>
    );
  }
  const nll = chosen.version.metrics?.nll;
  return (
    <Page title="Compare" wide>
      <ChatTabs here="compare" />
      <VersionPicker
        label="Compare with the bare model"
        speaker={{ model: modelOf(chosen.adapter, present), version: chosen.version.id }}
        models={present}
        adapters={list}
        withBase={false}
        onChange={(next) => {
          setPicked(next);
          setAnswers(undefined);
        }}
      />
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void run(prompt);
        }}
      >
        <Field label="Question">
          {(ids) => (
            <textarea
              {...ids}
              rows={2}
              value={prompt}
              onInput={(event) => setPrompt(event.currentTarget.value)}
              onKeyDown={(event) => {
                if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
                  event.preventDefault();
                  void run(prompt);
                }
              }}
            />
          )}
        </Field>
        {prompt === '' && ideas.data && ideas.data.examples.length > 0 && (
          <div class="ideas">
            {ideas.data.examples
              .map((row) => textsOf(row).find(({ role }) => role === 'question')?.text ?? '')
              .filter((text) => text !== '' && text.length < 160)
              .slice(0, 3)
              .map((text) => (
                <button key={text} type="button" class="idea" onClick={() => setPrompt(text)}>
                  <span class="clamp-1">{text}</span>
                </button>
              ))}
          </div>
        )}
        {busy ? (
          <button
            type="button"
            class="button"
            onClick={() => {
              running.current?.abort();
              setBusy(false);
            }}
          >
            <Icon name="stop" /> Stop
          </button>
        ) : (
          <button type="submit" class="button primary" disabled={prompt.trim() === ''}>
            Ask both
          </button>
        )}
      </form>
      <Fault error={error} />
      {answers && (
        <div class="sides" aria-busy={busy}>
          <section class="side">
            <h2>Bare model</h2>
            <p class="prose answer">{answers.base.text || (busy ? '…' : '')}</p>
          </section>
          <section class="side adapted">
            <h2>
              {chosen.adapter.name} <small>version {chosen.version.number}</small>
            </h2>
            <p class="prose answer">{answers.adapted.text || (busy ? '…' : '')}</p>
            {answers.adapted.done && (
              <Feedback key={answers.adapted.text} prompt={asked} answer={answers.adapted.text} dataset={source} />
            )}
          </section>
        </div>
      )}
      {nll && (
        <section class="sheet">
          <NllBars base={nll.base} adapted={nll.adapted} />
        </section>
      )}
    </Page>
  );
}
