import { useEffect, useRef, useState } from 'preact/hooks';
import type { Adapter } from '../../../serve/contract/adapters.js';
import type { ChatEvent, WholeConversation } from '../../../serve/contract/chat.js';
import type { Message } from '../../../serve/contract/datasets.js';
import type { ModelEntry } from '../../../serve/contract/models.js';
import { call, isAbort } from '../api.js';
import { announce, href } from '../browser.js';
import { tellChanged, useResource } from '../live.js';
import {
  ConversationList,
  chooseSpeaker,
  Feedback,
  findVersion,
  type Speaker,
  VersionPicker,
} from '../parts/conversation.js';
import { ChatTabs, Empty, Fault, Icon, Loading, Page } from '../parts/layout.js';
import { ask } from '../stream.js';

export function ChatScreen({ conversation, version }: { conversation?: string; version?: string }) {
  const adapters = useResource(
    (signal) => call<{ adapters: Adapter[] }>('GET', '/api/adapters', { signal }),
    ['adapters'],
  );
  const models = useResource((signal) => call<{ models: ModelEntry[] }>('GET', '/api/models', { signal }), ['models']);
  const [messages, setMessages] = useState<Message[]>([]);
  const [draft, setDraft] = useState('');
  const [picked, setPicked] = useState<Speaker>();
  const [streaming, setStreaming] = useState<string>();
  const [error, setError] = useState<Error>();
  const [lists, setLists] = useState(false);
  const [loading, setLoading] = useState(false);
  const running = useRef<AbortController | undefined>(undefined);
  /** The conversation that the messages on screen belong to. */
  const current = useRef<string | undefined>(undefined);
  const end = useRef<HTMLDivElement>(null);
  const box = useRef<HTMLTextAreaElement>(null);

  useEffect(() => () => running.current?.abort(), []);
  useEffect(() => {
    if (conversation === current.current) return;
    running.current?.abort();
    setStreaming(undefined);
    current.current = conversation;
    setError(undefined);
    setMessages([]);
    if (!conversation) return;
    const abort = new AbortController();
    setLoading(true);
    call<WholeConversation>('GET', `/api/conversations/${conversation}`, { signal: abort.signal })
      .then((kept) => {
        setMessages(kept.messages);
        setPicked({ model: kept.model, version: kept.version });
        setLoading(false);
      })
      .catch((caught) => {
        if (isAbort(caught)) return;
        setError(caught as Error);
        setLoading(false);
      });
    return () => abort.abort();
  }, [conversation]);
  useEffect(() => {
    const room = document.documentElement.scrollHeight - scrollY - innerHeight;
    if (streaming === undefined || room < 160) end.current?.scrollIntoView({ block: 'end' });
  }, [messages, streaming]);

  const list = adapters.data?.adapters ?? [];
  const present = models.data?.models.filter((model) => model.installed) ?? [];
  const speaker = picked ?? chooseSpeaker(list, present, version);
  const chosen = findVersion(list, speaker?.version);
  const who = chosen?.adapter.name ?? present.find(({ name }) => name === speaker?.model)?.title ?? 'the model';
  const source = chosen?.version.datasets.find(({ id }) => id !== undefined)?.id;

  const send = async () => {
    const message = draft.trim();
    if (message === '' || !speaker || streaming !== undefined) return;
    const abort = new AbortController();
    running.current = abort;
    setError(undefined);
    setDraft('');
    const before = messages;
    setMessages([...before, { role: 'user', content: message }]);
    setStreaming('');
    let text = '';
    try {
      const body = { ...(current.current && { conversation: current.current }), ...speaker, message, options: {} };
      for await (const piece of ask<ChatEvent>('/api/chat', body, abort.signal)) {
        if (piece.type === 'text') {
          text += piece.text;
          setStreaming(text);
        }
        if (piece.type !== 'forgot' && piece.conversation && piece.conversation !== current.current) {
          current.current = piece.conversation;
          history.replaceState(null, '', href('chat', piece.conversation));
        }
      }
      announce(`${who}: ${text}`);
    } catch (caught) {
      if (!isAbort(caught)) {
        setError(caught as Error);
        // Nothing of an answer: the question goes back to where it was typed.
        if (text === '') {
          setMessages(before);
          setDraft(message);
        }
      }
    }
    if (running.current !== abort) return;
    if (text !== '') setMessages([...before, { role: 'user', content: message }, { role: 'assistant', content: text }]);
    setStreaming(undefined);
    tellChanged('conversations');
    box.current?.focus();
  };

  if (!adapters.data || !models.data) {
    return (
      <Page title="Chat">
        <ChatTabs here="chat" />
        <Fault error={adapters.error ?? models.error} onRetry={() => void adapters.reload()} />
        {!adapters.error && <Loading />}
      </Page>
    );
  }
  if (!speaker) {
    return (
      <Page title="Chat">
        <ChatTabs here="chat" />
        <Empty title="No model yet">
          <p>There is nobody to talk to before a model is here.</p>
          <a class="button primary" href={href()}>
            Begin
          </a>
        </Empty>
      </Page>
    );
  }
  return (
    <Page
      title="Chat"
      full
      wide
      actions={
        <>
          <button
            type="button"
            class="icon-button narrow-only"
            aria-label="Conversations"
            onClick={() => setLists(true)}
          >
            <Icon name="history" />
          </button>
          <a
            class="icon-button"
            href={href('chat')}
            aria-label="New conversation"
            onClick={() => {
              current.current = undefined;
              running.current?.abort();
              setStreaming(undefined);
              setMessages([]);
              setError(undefined);
              box.current?.focus();
            }}
          >
            <Icon name="add" />
          </a>
        </>
      }
    >
      <ChatTabs here="chat" />
      <div class="chat">
        <aside class="wide-only chat-list">
          <ConversationList here={conversation} />
        </aside>
        <div class="chat-main">
          <VersionPicker
            label="Talk to"
            speaker={speaker}
            models={present}
            adapters={list}
            withBase
            onChange={setPicked}
          />
          <ol class="messages" aria-label="Conversation" aria-busy={streaming !== undefined}>
            {messages.length === 0 && !loading && streaming === undefined && (
              <li class="messages-empty">
                <p>
                  Ask {chosen ? <strong>{chosen.adapter.name}</strong> : 'the bare model'} something. The conversation
                  is kept encrypted, on this device.
                </p>
              </li>
            )}
            {loading && <Loading />}
            {messages.map((message, i) => (
              <li key={i} class={`message ${message.role}`}>
                <span class="unseen">{message.role === 'user' ? 'You' : who}: </span>
                <p class="prose">{message.content}</p>
                {message.role === 'assistant' && i > 0 && (
                  <Feedback prompt={messages[i - 1]!.content} answer={message.content} dataset={source} />
                )}
              </li>
            ))}
            {streaming !== undefined && (
              <li class="message assistant">
                <p class={streaming === '' ? 'prose thinking' : 'prose'}>{streaming || '…'}</p>
              </li>
            )}
          </ol>
          <Fault error={error} />
          <div ref={end} class="chat-end" />
          <form
            class="composer"
            onSubmit={(event) => {
              event.preventDefault();
              void send();
            }}
          >
            <label class="unseen" for="composer">
              Message
            </label>
            <textarea
              id="composer"
              ref={box}
              rows={1}
              value={draft}
              placeholder={`Write to ${who}`}
              onInput={(event) => {
                const element = event.currentTarget;
                setDraft(element.value);
                element.style.height = 'auto';
                element.style.height = `${Math.min(element.scrollHeight, 160)}px`;
              }}
              onKeyDown={(event) => {
                // On a phone the Enter key of the keyboard breaks lines; with a mouse and a real keyboard it sends.
                if (
                  event.key === 'Enter' &&
                  !event.shiftKey &&
                  !event.isComposing &&
                  matchMedia('(pointer: fine)').matches
                ) {
                  event.preventDefault();
                  void send();
                }
              }}
            />
            {streaming === undefined ? (
              <button type="submit" class="icon-button send" aria-label="Send" disabled={draft.trim() === ''}>
                <Icon name="send" />
              </button>
            ) : (
              <button
                type="button"
                class="icon-button send"
                aria-label="Stop the answer"
                onClick={() => running.current?.abort()}
              >
                <Icon name="stop" />
              </button>
            )}
          </form>
        </div>
      </div>
      {lists && <ConversationList here={conversation} onClose={() => setLists(false)} />}
    </Page>
  );
}
