import { count } from '../util/format.js';
import { questionKey } from './questionKey.js';
import type { Example } from './types.js';

export interface Overlap {
  example: Example;
  /** The held-out example that asks the same. */
  heldout: Example;
  /** Names files and lines, quotes no text. */
  reason: string;
}

/**
 * Takes out of `train` every example whose user text is also held out, but for case, white space and Unicode form: a figure on
 * held-out data means nothing for what was trained on. Order is kept.
 */
export function removeOverlap(
  train: readonly Example[],
  heldout: readonly Example[],
): { train: Example[]; removed: Overlap[] } {
  const held = new Map<string, Example>();
  for (const example of heldout) {
    const key = questionKey(example);
    if (!held.has(key)) held.set(key, example);
  }
  const kept: Example[] = [];
  const removed: Overlap[] = [];
  for (const example of train) {
    const same = held.get(questionKey(example));
    if (same === undefined) {
      kept.push(example);
      continue;
    }
    const { file, line } = same.source;
    const reason = `line ${count(example.source.line)} asks the same as line ${count(line)} of the held-out file ${file}`;
    removed.push({ example, heldout: same, reason });
  }
  return { train: kept, removed };
}
