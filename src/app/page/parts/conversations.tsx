import { useState } from 'preact/hooks';
import type { Conversation, WholeConversation } from '../../../serve/contract/chat.js';
import { t } from '../../logic/language.js';
import { when } from '../../logic/words.js';
import { call, saveFile } from '../api.js';
import { canShare, shareFile } from '../around.js';
import { go, href } from '../browser.js';
import { refresh, useAction, useListed } from '../server.js';
import { IconButton, TextField } from './controls.js';
import { Confirm, Dialog, Rename } from './dialogs.js';
import { Fault } from './layout.js';
import { deleteLater } from './undo.js';

/** Earlier conversations: searched, opened, renamed, taken along as a file, deleted. */

/** @param onLeave called when one is opened */
export function ConversationList({ here, onLeave }: { here?: string; onLeave?: () => void }) {
  const [text, setText] = useState('');
  const list = useListed<'conversations', Conversation>('conversations', `?text=${encodeURIComponent(text)}`);
  const [open, setOpen] = useState<{ what: 'rename' | 'export' | 'delete'; one: Conversation }>();
  const { error, run } = useAction();
  const close = () => setOpen(undefined);
  return (
    <>
      <TextField label={t('Search')} type="search" value={text} onInput={setText} verbatim />
      <Fault error={error ?? list.error} />
      {list.data?.length === 0 && <p class="quiet">{text === '' ? t('No conversations yet.') : t('Nothing found.')}</p>}
      <ul class="conversations">
        {list.data?.map((one) => (
          <li key={one.id} class={one.id === here ? 'here' : undefined}>
            <a href={href('chat', one.id)} aria-current={one.id === here ? 'true' : undefined} onClick={onLeave}>
              <span class="clamp-1">{one.title}</span>
              <small class="quiet">{one.answering ? t('is being answered') : when(one.changedAt)}</small>
            </a>
            <span class="conversation-actions">
              <IconButton
                icon="edit"
                size={18}
                label={t('Rename the conversation {title}', { title: one.title })}
                onClick={() => setOpen({ what: 'rename', one })}
              />
              <IconButton
                icon="export"
                size={18}
                label={t('Save the conversation {title} as a file', { title: one.title })}
                onClick={() =>
                  canShare('conversation.txt')
                    ? setOpen({ what: 'export', one })
                    : void run(() => exportConversation(one))
                }
              />
              <IconButton
                icon="trash"
                size={18}
                label={t('Delete the conversation {title}', { title: one.title })}
                onClick={() => setOpen({ what: 'delete', one })}
              />
            </span>
          </li>
        ))}
      </ul>
      {open?.what === 'rename' && (
        <Rename
          id={open.one.id}
          name={open.one.title}
          onClose={close}
          onRename={async (title) => {
            await call('PATCH', `/api/conversations/${open.one.id}`, { body: { title } });
            await refresh('conversations');
          }}
        />
      )}
      {open?.what === 'export' && (
        <Dialog
          title={t('Take the conversation along')}
          onClose={close}
          actions={([t('Save as a file'), t('Share it with another app')] as const).map((label, i) => (
            <button
              key={label}
              type="button"
              class={i === 0 ? 'button' : 'button primary'}
              onClick={() => void run(() => exportConversation(open.one, i === 0 ? saveFile : shareFile)).then(close)}
            >
              {label}
            </button>
          ))}
        >
          <p>{t('The file is not encrypted: whoever gets it can read the conversation.')}</p>
        </Dialog>
      )}
      {open?.what === 'delete' && (
        <Confirm
          title={t('Delete this conversation')}
          verb={t('Delete')}
          danger
          onClose={close}
          onConfirm={async () => {
            const { id, title } = open.one;
            if (id === here) go('chat');
            deleteLater(t('“{title}” is deleted', { title }), { ids: [id], path: `/api/conversations/${id}` });
          }}
        >
          <p>{t('“{title}” is destroyed.', { title: open.one.title })}</p>
        </Confirm>
      )}
    </>
  );
}

/** As Markdown. @param to `shareFile` takes few kinds of files, and Markdown is none of them */
async function exportConversation(
  { id, title }: Conversation,
  to: (content: Blob, name: string) => unknown = saveFile,
): Promise<void> {
  const { messages } = await call<WholeConversation>('GET', `/api/conversations/${id}`);
  const names = { user: t('You'), assistant: t('Answer'), system: t('Instructions'), tool: t('Tool') };
  const texts = messages.map(({ role, content, cut }) => `## ${names[role]}\n\n${content}${cut ? ' …' : ''}\n`);
  const name = title.replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-|-$/g, '') || 'conversation';
  const [type, ending] = to === saveFile ? ['text/markdown', 'md'] : ['text/plain', 'txt'];
  await to(new Blob([`# ${title}\n\n${texts.join('\n')}`], { type }), `${name}.${ending}`);
}
