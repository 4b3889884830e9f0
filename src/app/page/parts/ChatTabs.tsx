import { href } from '../router.js';

/** On phones the bar below has one entry for talking; the two ways of it are chosen here. */
export function ChatTabs({ here }: { here: 'chat' | 'compare' }) {
  return (
    <nav class="tabs narrow-only" aria-label="Ways to talk">
      <a href={href('chat')} aria-current={here === 'chat' ? 'page' : undefined}>
        Chat
      </a>
      <a href={href('compare')} aria-current={here === 'compare' ? 'page' : undefined}>
        Compare
      </a>
    </nav>
  );
}
