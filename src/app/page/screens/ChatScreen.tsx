import { useEffect, useRef, useState } from 'preact/hooks';
import { list, rich, t } from '../../logic/language.js';
import { namesOf, titleOf } from '../../logic/speakers.js';
import { href } from '../browser.js';
import { dropDrafts, useDraft } from '../drafts.js';
import { IconButton } from '../parts/controls.js';
import { AlsoWorn, ChatTabs, SpeakerPicker, sourceOf, useSpeakers } from '../parts/conversation.js';
import { ConversationList } from '../parts/conversations.js';
import { LearnCorrections } from '../parts/corrections.js';
import { Dialog } from '../parts/dialogs.js';
import { Empty, Fault, Icon, Loading, Page, Pending } from '../parts/layout.js';
import { asked, isValid, MannerDialog, useManner } from '../parts/manner.js';
import { Said, Streaming } from '../parts/message.js';
import { type Asked, type ChatDraft, useTalk } from '../talk.js';

const nothing: ChatDraft = { text: '' };

/** @param version of an adapter, to talk to unless another is picked */
export function ChatScreen({ conversation, version }: { conversation?: string; version?: string }) {
  const { pending, ready, adapters, models, speaker, pick, chosen } = useSpeakers(version);
  const talk = useTalk(conversation);
  const [draft, setDraft] = useDraft<ChatDraft>(`chat/${talk.id ?? ''}`, nothing);
  const { manner, setManner, isReady, isKnown, keepAsRule } = useManner(talk, chosen?.adapter.id);
  const [open, setOpen] = useState<'list' | 'manner'>();
  const end = useRef<HTMLDivElement>(null);
  const box = useRef<HTMLTextAreaElement>(null);
  const { messages, answer, whole } = talk;

  // Of one that was opened; what is picked while one begins stays picked.
  useEffect(() => {
    if (talk.loading || !whole) return;
    const { model, version: worn, strength, also } = whole;
    pick({ model, version: worn, ...(strength !== undefined && { strength }), ...(also && { also }) });
  }, [talk.loading]);
  useEffect(() => {
    const room = document.documentElement.scrollHeight - scrollY - innerHeight;
    if (answer === undefined || room < 160) end.current?.scrollIntoView({ block: 'end' });
  }, [messages.length, answer]);
  // As tall as what stands in it, also where it was kept.
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    element.style.height = 'auto';
    element.style.height = `${Math.min(element.scrollHeight, 160)}px`;
  }, [draft.text, ready]);

  const who =
    (speaker && list(namesOf(speaker, adapters))) || (speaker ? titleOf(speaker.model, models) : t('the model'));

  const say = async (what: Asked) => {
    if (!speaker || !isReady || talk.loading || answer !== undefined || !isValid(manner)) return;
    const isNew = talk.id === undefined;
    // Another version may come into use meanwhile.
    pick(speaker);
    // What was chosen for the conversation that begins is kept with it.
    if ((await talk.send({ ...speaker, ...asked(manner, whole), ...what })) && isNew) dropDrafts('manner/manner');
    box.current?.focus();
  };
  const submit = () => {
    const message = draft.text.trim();
    if (message !== '') void say({ message, ...(draft.after !== undefined && { after: draft.after }) });
  };
  const again = (at: number) => {
    const from = messages[at]!.role === 'user' ? at : at - 1;
    const question = messages[from];
    if (question?.role === 'user') void say({ message: question.content, after: from });
  };

  if (!ready || !speaker) {
    return (
      <Page title={t('Chat')}>
        <ChatTabs here="chat" />
        <Pending of={pending} />
        {ready && (
          <Empty title={t('No model yet')}>
            <p>{t('Download a model to talk to it.')}</p>
            <a class="button primary" href={href()}>
              {t('Get started')}
            </a>
          </Empty>
        )}
      </Page>
    );
  }
  return (
    <Page
      title={t('Chat')}
      full
      wide
      actions={
        <>
          <IconButton icon="history" label={t('Conversations')} class="narrow-only" onClick={() => setOpen('list')} />
          <IconButton
            icon="settings"
            label={t('How it answers')}
            disabled={!isKnown}
            onClick={() => setOpen('manner')}
          />
          <a
            class="icon-button"
            href={href('chat')}
            aria-label={t('New conversation')}
            onClick={() => box.current?.focus()}
          >
            <Icon name="add" />
          </a>
        </>
      }
    >
      <ChatTabs here="chat" />
      <div class="chat">
        <aside class="wide-only chat-list">
          <h2>{t('Conversations')}</h2>
          <ConversationList here={talk.id} />
        </aside>
        <div class="chat-main">
          {!talk.loading && (
            <>
              <SpeakerPicker
                label={t('Talk to')}
                speaker={speaker}
                models={models}
                adapters={adapters}
                withBase
                onChange={pick}
              />
              <AlsoWorn speaker={speaker} models={models} adapters={adapters} onChange={pick} />
            </>
          )}
          <ol class="messages" aria-label={t('Conversation')} aria-busy={answer !== undefined}>
            {messages.length === 0 && !talk.loading && answer === undefined && (
              <li class="messages-empty">
                {rich('Ask {who} something. The conversation is kept on this device, encrypted.', {
                  who: chosen ? <strong>{who}</strong> : t('the base model'),
                })}
              </li>
            )}
            {talk.loading && (
              <li>
                <Loading />
              </li>
            )}
            {messages.map((_, at) => (
              <Said
                key={at}
                talk={talk}
                at={at}
                who={who}
                dataset={sourceOf(chosen)}
                onEdit={() => {
                  const kept = draft.after === undefined ? draft.text : draft.kept;
                  setDraft({ text: messages[at]!.content, after: at, ...(kept && { kept }) });
                  box.current?.focus();
                }}
                onAgain={() => again(at)}
                onGoOn={() => void say({ goOn: true })}
              />
            ))}
            <Streaming talk={talk} />
          </ol>
          {talk.forgot > 0 && (
            <p class="quiet">{t('The conversation is longer than the model can read: its beginning was left out.')}</p>
          )}
          {answer === undefined && <LearnCorrections chosen={chosen} model={speaker.model} />}
          <Fault error={talk.error} />
          <div ref={end} />
          <form
            class="composer"
            onSubmit={(event) => {
              event.preventDefault();
              submit();
            }}
          >
            {draft.after !== undefined && (
              <p class="composer-note">
                <span>{t('What follows this question is replaced.')}</span>
                <button type="button" class="link" onClick={() => setDraft({ text: draft.kept ?? '' })}>
                  {t('Leave it')}
                </button>
              </p>
            )}
            <label class="unseen" for="composer">
              {t('Message')}
            </label>
            <textarea
              id="composer"
              ref={box}
              rows={1}
              // What is being asked is a draft until the server has it.
              value={answer !== undefined && answer.question === draft.text.trim() ? '' : draft.text}
              placeholder={t('Write to {who}', { who })}
              onInput={(event) => setDraft({ ...draft, text: event.currentTarget.value })}
              onKeyDown={(event) => {
                // On a phone the Enter key breaks lines; with a mouse and a real keyboard it sends.
                const plain = event.key === 'Enter' && !event.shiftKey && !event.isComposing;
                if (plain && matchMedia('(pointer: fine)').matches) {
                  event.preventDefault();
                  submit();
                }
              }}
            />
            {answer === undefined ? (
              <IconButton
                icon="send"
                label={t('Send')}
                type="submit"
                class="send"
                disabled={draft.text.trim() === '' || talk.loading || !isReady}
              />
            ) : (
              <IconButton icon="stop" label={t('Stop the answer')} class="send" onClick={talk.stop} />
            )}
          </form>
        </div>
      </div>
      {open === 'list' && (
        <Dialog title={t('Conversations')} onClose={() => setOpen(undefined)}>
          <ConversationList here={talk.id} onLeave={() => setOpen(undefined)} />
        </Dialog>
      )}
      {open === 'manner' && (
        <MannerDialog
          who={who}
          manner={manner}
          onChange={setManner}
          onRule={keepAsRule}
          onClose={() => setOpen(undefined)}
        />
      )}
    </Page>
  );
}
