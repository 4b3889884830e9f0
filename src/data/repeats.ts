import { count } from '../util/format.js';
import { textKey } from './textKey.js';
import type { Message, Remark } from './types.js';

/** Finds repeated records as a file is read, by exact text. */
export class Repeats {
  /** Line of the first record with this key. */
  private readonly whole = new Map<string, number>();
  private readonly questions = new Map<string, number>();

  /**
   * Notes one conversation. `duplicate`: an equal one came before. `conflict`: one came before with the same system and user texts
   * and other answers.
   */
  note(messages: readonly Message[], line: number): Remark | undefined {
    const whole = textKey(
      ...messages.flatMap(({ role, content, train }) => [train === false ? 'context' : role, content]),
    );
    const equal = this.whole.get(whole);
    if (equal !== undefined) {
      return { kind: 'duplicate', reason: `it repeats the record of line ${count(equal)} and is left out` };
    }
    this.whole.set(whole, line);
    const asked = messages.filter(({ role }) => role !== 'assistant');
    const question = textKey(...asked.flatMap(({ role, content }) => [role, content]));
    const before = this.questions.get(question);
    if (before !== undefined) {
      return {
        kind: 'conflict',
        reason: `it asks the same as the record of line ${count(before)} and answers otherwise`,
      };
    }
    this.questions.set(question, line);
    return undefined;
  }
}
