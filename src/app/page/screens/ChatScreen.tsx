import { useEffect, useRef, useState } from 'preact/hooks';
import type { ChatEvent, Conversation, WholeConversation } from '../../../serve/contract/chat.js';
import type { Message } from '../../../serve/contract/datasets.js';
import { namesOf } from '../../logic/speakers.js';
import { when } from '../../logic/words.js';
import { ask, call, isAbort } from '../api.js';
import { announce, go, href } from '../browser.js';
import { IconButton } from '../parts/controls.js';
import { AlsoWorn, ChatTabs, Feedback, SpeakerPicker, sourceOf, Thought, useSpeakers } from '../parts/conversation.js';
import { Confirm, Dialog } from '../parts/dialogs.js';
import { Empty, Fault, Icon, Loading, Page, Pending } from '../parts/layout.js';
import { tellChanged, useList } from '../server.js';

/** @param version of an adapter, to talk to unless another is picked */
export function ChatScreen({ conversation, version }: { conversation?: string; version?: string }) {
  const { pending, ready, adapters, models, speaker, pick, chosen } = useSpeakers(version);
  const [messages, setMessages] = useState<Message[]>([]);
  const [draft, setDraft] = useState('');
  const [streaming, setStreaming] = useState<{ text: string; thought: string }>();
  const [error, setError] = useState<Error>();
  const [listing, setListing] = useState(false);
  const [loading, setLoading] = useState(false);
  const running = useRef<AbortController | undefined>(undefined);
  /** The conversation that the messages on screen belong to. */
  const current = useRef<string | undefined>(undefined);
  const end = useRef<HTMLDivElement>(null);
  const box = useRef<HTMLTextAreaElement>(null);

  /** Leaves the conversation on screen for another one, or for none. */
  const leaveFor = (next: string | undefined) => {
    running.current?.abort();
    current.current = next;
    setStreaming(undefined);
    setMessages([]);
    setError(undefined);
  };
  useEffect(() => () => running.current?.abort(), []);
  useEffect(() => {
    if (conversation === current.current) return;
    leaveFor(conversation);
    if (!conversation) return;
    const abort = new AbortController();
    setLoading(true);
    call<WholeConversation>('GET', `/api/conversations/${conversation}`, { signal: abort.signal })
      .then((kept) => {
        setMessages(kept.messages);
        const { model, version, strength, also } = kept;
        pick({ model, version, ...(strength !== undefined && { strength }), ...(also && { also }) });
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

  const who =
    (speaker && namesOf(speaker, adapters).join(' and ')) ||
    (models.find(({ name }) => name === speaker?.model)?.title ?? 'the model');

  const send = async () => {
    const message = draft.trim();
    if (message === '' || !speaker || streaming !== undefined) return;
    const abort = new AbortController();
    running.current = abort;
    setError(undefined);
    setDraft('');
    const before = messages;
    const asked: Message[] = [...before, { role: 'user', content: message }];
    setMessages(asked);
    setStreaming({ text: '', thought: '' });
    let [text, thought] = ['', ''];
    try {
      const body = { ...(current.current && { conversation: current.current }), ...speaker, message, options: {} };
      for await (const piece of ask<ChatEvent>('/api/chat', body, abort.signal)) {
        if (piece.type === 'text') text += piece.text;
        if (piece.type === 'thought') thought += piece.text;
        setStreaming({ text, thought });
        if ('conversation' in piece && piece.conversation && piece.conversation !== current.current) {
          current.current = piece.conversation;
          history.replaceState(null, '', href('chat', piece.conversation));
        }
      }
      announce(`${who}: ${text}`);
    } catch (caught) {
      if (!isAbort(caught)) {
        setError(caught as Error);
        // No answer at all: the question goes back to where it was typed.
        if (text === '') {
          setMessages(before);
          setDraft(message);
        }
      }
    }
    if (running.current !== abort) return;
    if (text !== '')
      setMessages([...asked, { role: 'assistant', content: text, ...(thought && { reasoning: thought }) }]);
    setStreaming(undefined);
    tellChanged('conversations');
    box.current?.focus();
  };

  if (!ready || !speaker) {
    return (
      <Page title="Chat">
        <ChatTabs here="chat" />
        <Pending of={pending} />
        {ready && (
          <Empty title="No model yet">
            <p>Download a model to talk to it.</p>
            <a class="button primary" href={href()}>
              Get started
            </a>
          </Empty>
        )}
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
          <IconButton icon="history" label="Conversations" class="narrow-only" onClick={() => setListing(true)} />
          <a
            class="icon-button"
            href={href('chat')}
            aria-label="New conversation"
            onClick={() => {
              leaveFor(undefined);
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
          <h2>Conversations</h2>
          <ConversationList here={conversation} />
        </aside>
        <div class="chat-main">
          <SpeakerPicker
            label="Talk to"
            speaker={speaker}
            models={models}
            adapters={adapters}
            withBase
            onChange={pick}
          />
          <AlsoWorn speaker={speaker} models={models} adapters={adapters} onChange={pick} />
          <ol class="messages" aria-label="Conversation" aria-busy={streaming !== undefined}>
            {messages.length === 0 && !loading && streaming === undefined && (
              <li class="messages-empty">
                Ask {chosen ? <strong>{who}</strong> : 'the base model'} something. The conversation is kept on this
                device, encrypted.
              </li>
            )}
            {loading && <Loading />}
            {messages.map((message, i) => (
              <li key={i} class={`message ${message.role}`}>
                <span class="unseen">{message.role === 'user' ? 'You' : who}: </span>
                <Thought text={message.reasoning} />
                <p class="prose">{message.content}</p>
                {message.role === 'assistant' && i > 0 && (
                  <Feedback prompt={messages[i - 1]!.content} answer={message.content} dataset={sourceOf(chosen)} />
                )}
              </li>
            ))}
            {streaming !== undefined && (
              <li class="message assistant">
                <Thought text={streaming.thought} open={streaming.text === ''} />
                <p class={streaming.text === '' ? 'prose thinking' : 'prose'}>{streaming.text || '…'}</p>
              </li>
            )}
          </ol>
          <Fault error={error} />
          <div ref={end} />
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
                // On a phone the Enter key breaks lines; with a mouse and a real keyboard it sends.
                const plain = event.key === 'Enter' && !event.shiftKey && !event.isComposing;
                if (plain && matchMedia('(pointer: fine)').matches) {
                  event.preventDefault();
                  void send();
                }
              }}
            />
            {streaming === undefined ? (
              <IconButton icon="send" label="Send" type="submit" class="send" disabled={draft.trim() === ''} />
            ) : (
              <IconButton icon="stop" label="Stop the answer" class="send" onClick={() => running.current?.abort()} />
            )}
          </form>
        </div>
      </div>
      {listing && (
        <Dialog title="Conversations" onClose={() => setListing(false)}>
          <ConversationList here={conversation} onLeave={() => setListing(false)} />
        </Dialog>
      )}
    </Page>
  );
}

/** Earlier conversations; `onLeave` is called when one is opened. */
function ConversationList({ here, onLeave }: { here?: string; onLeave?: () => void }) {
  const list = useList('conversations');
  const [deleting, setDeleting] = useState<Conversation>();
  return (
    <>
      <Fault error={list.error} />
      {list.data?.length === 0 && <p class="quiet">No conversations yet.</p>}
      <ul class="conversations">
        {list.data?.map((one) => (
          <li key={one.id} class={one.id === here ? 'here' : undefined}>
            <a href={href('chat', one.id)} aria-current={one.id === here ? 'true' : undefined} onClick={onLeave}>
              <span class="clamp-1">{one.title}</span>
              <small class="quiet">{when(one.changedAt)}</small>
            </a>
            <IconButton
              icon="trash"
              size={18}
              label={`Delete the conversation ${one.title}`}
              onClick={() => setDeleting(one)}
            />
          </li>
        ))}
      </ul>
      {deleting && (
        <Confirm
          title="Delete this conversation"
          verb="Delete"
          danger
          onClose={() => setDeleting(undefined)}
          onConfirm={async () => {
            await call('DELETE', `/api/conversations/${deleting.id}`);
            if (deleting.id === here) go('chat');
            tellChanged('conversations');
          }}
        >
          <p>“{deleting.title}” is destroyed.</p>
        </Confirm>
      )}
    </>
  );
}
