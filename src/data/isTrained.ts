import type { Message } from './types.js';

/** Whether the tokens of a message are learnt: every assistant message, unless its file says otherwise. */
export function isTrained(message: Message): boolean {
  return message.role === 'assistant' && message.train !== false;
}
