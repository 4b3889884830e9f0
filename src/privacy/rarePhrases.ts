import { isTrained } from '../data/isTrained.js';
import { Pace } from '../data/pace.js';
import type { Example } from '../data/types.js';
import { maskValue } from './maskValue.js';
import type { Finding } from './types.js';

/** Words of the shortest passage that is no coincidence when it comes out again. */
const LEAST_WORDS = 8;
/** Longest passage that is asked for: what follows its beginning shows it already. */
const MOST_WORDS = 24;
/** Words that a passage must have before it in its answer or question to be asked for. */
const GRAM = 3;

const wordsOf = (text: string) => [...text.matchAll(/\S+/g)];
const keyOf = (words: readonly string[]) => words.join(' ').toLowerCase();

/**
 * Long passages of the trained answers that stand nowhere else: runs of words whose every three-word sequence occurs in one example
 * only. The longest first, at most one an answer. For asking whether an adapter recites them.
 */
export async function rarePhrases(
  examples: readonly Example[],
  count: number,
  options: { signal?: AbortSignal } = {},
): Promise<Finding[]> {
  const pace = new Pace(options.signal);
  // The example of each three-word sequence; -1 once it stands in several.
  const owners = new Map<string, number>();
  for (const [index, { messages }] of examples.entries()) {
    for (const { content } of messages) {
      const words = wordsOf(content).map((match) => match[0]);
      for (let i = 0; i + GRAM <= words.length; i++) {
        const key = keyOf(words.slice(i, i + GRAM));
        const owner = owners.get(key);
        if (owner !== index) owners.set(key, owner === undefined ? index : -1);
      }
    }
    if (pace.due) await pace.rest();
  }
  const found: { words: number; finding: Omit<Finding, 'number'> }[] = [];
  for (const [index, example] of examples.entries()) {
    const { line, index: record } = example.source;
    for (const [m, message] of example.messages.entries()) {
      if (!isTrained(message)) continue;
      const words = wordsOf(message.content);
      let best = { from: 0, to: 0 };
      for (let i = 0, from = 0; i + GRAM <= words.length; i++) {
        if (owners.get(keyOf(words.slice(i, i + GRAM).map((match) => match[0]))) !== index) from = i + 1;
        else if (i + GRAM - from > best.to - best.from) best = { from, to: i + GRAM };
      }
      const length = Math.min(MOST_WORDS, best.to - best.from);
      if (length < LEAST_WORDS) continue;
      const start = words[best.from]!.index;
      const last = words[best.from + length - 1]!;
      const end = last.index + last[0].length;
      const id = `${record}.${m}.${start}-${end}.phrase`;
      const preview = maskValue('phrase', message.content.slice(start, end));
      const span = { kind: 'phrase', label: 'passage', certainty: 'likely', start, end } as const;
      const place = { id, example: index, message: m, role: message.role, trained: true, line, record, preview };
      found.push({ words: best.to - best.from, finding: { ...span, ...place } });
    }
    if (pace.due) await pace.rest();
  }
  found.sort((a, b) => b.words - a.words);
  return found.slice(0, count).map(({ finding }, i) => ({ ...finding, number: i + 1 }));
}
