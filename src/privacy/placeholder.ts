import type { Example } from '../data/types.js';
import { type FindingKind, findingKinds } from './types.js';

/** What stands in a text in place of a value: "[e-mail 1]" would be translated by no one, so it is the kind's own name. */
export function placeholder(kind: FindingKind, number: number): string {
  return `[${kind} ${number}]`;
}

const WRITTEN = new RegExp(String.raw`\[(${findingKinds.join('|')}) (\d{1,9})\]`, 'g');

/** Highest number of the placeholders of each kind that stand in the texts already. */
export function placeholderNumbers(examples: readonly Example[]): Map<FindingKind, number> {
  const highest = new Map<FindingKind, number>();
  for (const { messages } of examples) {
    for (const { content } of messages) {
      for (const match of content.matchAll(WRITTEN)) {
        const kind = match[1] as FindingKind;
        highest.set(kind, Math.max(highest.get(kind) ?? 0, Number(match[2])));
      }
    }
  }
  return highest;
}
