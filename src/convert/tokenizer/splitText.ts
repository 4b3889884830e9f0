import type { JsonValue } from '../../util/parseJson.js';
import { at, flagAt, listAt, textAt } from '../json.js';
import { toByteCharacters } from './byteCharacters.js';
import { translateRegex } from './translateRegex.js';

/** GPT-2's pattern, which `ByteLevel` uses by itself (tokenizers, pre_tokenizers/byte_level.rs). */
const gpt2 = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** One step: a piece of text becomes several. */
export type Split = (pieces: readonly string[]) => string[];

/** Matches and what is between them, as pieces of their own. */
function isolate(text: string, pattern: RegExp): { text: string; matched: boolean }[] {
  const parts: { text: string; matched: boolean }[] = [];
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    if (match[0] === '') continue;
    if (match.index > end) parts.push({ text: text.slice(end, match.index), matched: false });
    parts.push({ text: match[0], matched: true });
    end = match.index + match[0].length;
  }
  if (end < text.length) parts.push({ text: text.slice(end), matched: false });
  return parts;
}

function splitBy(pattern: RegExp, behaviour: string): Split | undefined {
  const each = (join: (parts: { text: string; matched: boolean }[]) => string[]): Split => {
    return (pieces) => pieces.flatMap((piece) => join(isolate(piece, pattern)));
  };
  switch (behaviour) {
    case 'Isolated':
      return each((parts) => parts.map(({ text }) => text));
    case 'Removed':
      return each((parts) => parts.filter(({ matched }) => !matched).map(({ text }) => text));
    case 'Contiguous':
      return each((parts) => {
        const joined: { text: string; matched: boolean }[] = [];
        for (const part of parts) {
          const last = joined.at(-1);
          if (last?.matched === part.matched) last.text += part.text;
          else joined.push({ ...part });
        }
        return joined.map(({ text }) => text);
      });
    default:
      return undefined;
  }
}

const escapeRegex = (text: string): string => text.replace(/[.*+?^${}()|[\]\\/-]/g, '\\$&');

/**
 * The steps that cut a text into pieces for byte-level BPE, as tokenizer.json describes them.
 * @returns undefined where it has a step that is not known here
 */
export function readSplits(preTokenizer: JsonValue | undefined): Split[] | undefined {
  switch (textAt(preTokenizer, 'type')) {
    case 'Sequence': {
      const steps = listAt(preTokenizer, 'pretokenizers').map(readSplits);
      return steps.includes(undefined) ? undefined : steps.flatMap((step) => step!);
    }
    case 'Split': {
      if (flagAt(preTokenizer, 'invert')) return undefined;
      const literal = textAt(preTokenizer, 'pattern', 'String');
      const regex = textAt(preTokenizer, 'pattern', 'Regex');
      const pattern = literal !== undefined ? new RegExp(escapeRegex(literal), 'gu') : translateRegex(regex ?? '(');
      const split = pattern && splitBy(pattern, textAt(preTokenizer, 'behavior') ?? '');
      return split && [split];
    }
    case 'Digits': {
      const behaviour = flagAt(preTokenizer, 'individual_digits') ? 'Isolated' : 'Contiguous';
      const split = splitBy(/\p{N}/gu, behaviour);
      return split && [split];
    }
    case 'Punctuation': {
      const split = splitBy(/[\p{P}!-/:-@[-`{-~]/gu, textAt(preTokenizer, 'behavior') ?? 'Isolated');
      return split && [split];
    }
    case 'ByteLevel': {
      const prefix: Split[] = flagAt(preTokenizer, 'add_prefix_space')
        ? [(pieces) => pieces.map((piece) => (piece.startsWith(' ') ? piece : ` ${piece}`))]
        : [];
      const cut = at(preTokenizer, 'use_regex') === false ? [] : [splitBy(gpt2, 'Isolated')!];
      return [...prefix, ...cut, (pieces) => pieces.map(toByteCharacters)];
    }
    default:
      return undefined;
  }
}
