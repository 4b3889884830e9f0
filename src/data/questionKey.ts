import { normaliseText } from './normaliseText.js';
import { textKey } from './textKey.js';
import type { Example } from './types.js';
import { userText } from './userText.js';

/** Equal for examples whose user texts are the same but for case, white space and Unicode form. */
export function questionKey(example: Pick<Example, 'messages'>): string {
  return textKey(normaliseText(userText(example)));
}
