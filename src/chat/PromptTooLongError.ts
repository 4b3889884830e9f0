import { LoamError } from '../util/errors.js';

/** What is to be answered does not fit into the context. */
export class PromptTooLongError extends LoamError {
  override readonly name = 'PromptTooLongError';
  constructor(tokens: number, most: number) {
    super({
      found: `a message of ${tokens} tokens`,
      expected: `at most ${most}, which leaves room for an answer`,
      fix: 'shorten the message, or give the model a longer --context',
    });
  }
}
