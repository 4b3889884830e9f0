import type { Example } from './types.js';

/**
 * What the user says in an example, all turns, a line break between them. Two examples with equal user text are the same question:
 * of a conversation the first turn alone ("Hi") would not tell. System messages do not count: the same question under another
 * system message still gives a held-out answer away.
 */
export function userText({ messages }: Pick<Example, 'messages'>): string {
  return messages
    .filter(({ role }) => role === 'user')
    .map(({ content }) => content)
    .join('\n');
}
