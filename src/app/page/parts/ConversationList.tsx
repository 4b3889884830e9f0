import { useState } from 'preact/hooks';
import type { Conversation } from '../../logic/types.js';
import { call } from '../api.js';
import { tellChanged, useResource } from '../live.js';
import { when } from '../readable.js';
import { go, href } from '../router.js';
import { Confirm } from './Confirm.js';
import { Dialog } from './Dialog.js';
import { Fault } from './Fault.js';
import { Icon } from './Icon.js';

/** Earlier conversations: a column beside the chat, or with `onClose` a dialog. */
export function ConversationList({ here, onClose }: { here?: string; onClose?: () => void }) {
  const { data, error } = useResource(
    (signal) => call<{ conversations: Conversation[] }>('GET', '/api/conversations', { signal }),
    ['conversations'],
  );
  const [deleting, setDeleting] = useState<Conversation>();
  const list = data?.conversations ?? [];
  const content = (
    <>
      <Fault error={error} />
      {data && list.length === 0 && <p class="quiet">No conversations yet.</p>}
      <ul class="conversations">
        {list.map((one) => (
          <li key={one.id} class={one.id === here ? 'here' : undefined}>
            <a href={href('chat', one.id)} aria-current={one.id === here ? 'true' : undefined} onClick={onClose}>
              <span class="clamp-1">{one.title}</span>
              <small class="quiet">{when(one.changedAt)}</small>
            </a>
            <button
              type="button"
              class="icon-button"
              aria-label={`Delete the conversation ${one.title}`}
              onClick={() => setDeleting(one)}
            >
              <Icon name="trash" size={18} />
            </button>
          </li>
        ))}
      </ul>
      {deleting && (
        <Confirm
          title="Delete the conversation"
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
  if (!onClose) {
    return (
      <>
        <h2>Conversations</h2>
        {content}
      </>
    );
  }
  return (
    <Dialog title="Conversations" onClose={onClose}>
      {content}
    </Dialog>
  );
}
