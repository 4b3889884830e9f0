import { flatten } from './flatten.js';
import type { FindingKind } from './types.js';

const NUMBERS: ReadonlySet<FindingKind> = new Set(['phone', 'card', 'iban', 'id-number', 'account']);
const EXACT: ReadonlySet<FindingKind> = new Set(['key', 'password', 'url']);

/**
 * Recognises a value in what a model wrote: word for word, but for white space, and for a number its separators; the case counts
 * for keys and passwords only. Not inside a longer word or number. Apply it to flattened text.
 */
export function valuePattern(kind: FindingKind, value: string): RegExp {
  const flat = flatten(value).trim();
  const quote = (text: string) => text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');
  const body = NUMBERS.has(kind)
    ? [...flat.replace(/[^\p{L}\p{N}]/gu, '')].map(quote).join(String.raw`[\s.\-\/()]{0,3}`)
    : flat.split(/\s+/).map(quote).join(String.raw`\s+`);
  return new RegExp(String.raw`(?<![\p{L}\p{N}])${body}(?![\p{L}\p{N}])`, EXACT.has(kind) ? 'u' : 'iu');
}
