import type { JsonValue } from '../../util/parseJson.js';
import type { HfFolder } from '../HfFolder.js';
import { at, flagAt, isList, isObject, listAt, textAt } from '../json.js';
import type { AddedToken } from './addedTokens.js';
import { mergePieces } from './mergePieces.js';
import { readSplits } from './splitText.js';

type Normalise = (text: string) => string;

function readNormaliser(value: JsonValue | undefined): Normalise | undefined {
  const type = textAt(value, 'type');
  if (value === undefined || value === null) return (text) => text;
  switch (type) {
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD':
      return (text) => text.normalize(type);
    case 'Lowercase':
      return (text) => text.toLowerCase();
    case 'Replace': {
      const from = textAt(value, 'pattern', 'String');
      const to = textAt(value, 'content');
      return from === undefined || to === undefined ? undefined : (text) => text.replaceAll(from, to);
    }
    case 'Prepend': {
      const prefix = textAt(value, 'prepend') ?? '';
      return (text) => (text === '' ? text : prefix + text);
    }
    case 'Sequence': {
      const steps = listAt(value, 'normalizers').map(readNormaliser);
      return steps.includes(undefined) ? undefined : (text) => steps.reduce((t, step) => step!(t), text);
    }
    default:
      return undefined;
  }
}

/** Ids before and after those of a text, as the post-processor puts them; undefined for one that is not known here. */
function readFrame(value: JsonValue | undefined): { before: number[]; after: number[] } | undefined {
  const nothing = { before: [], after: [] };
  if (value === undefined || value === null) return nothing;
  switch (textAt(value, 'type')) {
    case 'ByteLevel':
      return nothing;
    case 'Sequence': {
      const frames = listAt(value, 'processors').map(readFrame);
      if (frames.includes(undefined)) return undefined;
      return frames.reduce<{ before: number[]; after: number[] }>(
        (outer, inner) => ({ before: [...inner!.before, ...outer.before], after: [...outer.after, ...inner!.after] }),
        nothing,
      );
    }
    case 'TemplateProcessing': {
      const frame: { before: number[]; after: number[] } = { before: [], after: [] };
      let passed = false;
      for (const item of listAt(value, 'single')) {
        if (at(item, 'Sequence') !== undefined) passed = true;
        const name = textAt(item, 'SpecialToken', 'id');
        if (name === undefined) continue;
        const ids = listAt(value, 'special_tokens', name, 'ids').filter((id) => typeof id === 'number');
        const side = passed ? 'after' : 'before';
        frame[side] = frame[side].concat(ids);
      }
      return frame;
    }
    default:
      return undefined;
  }
}

type Part = { text: string } | { id: number };

/** Takes added tokens out of a text, at each place the longest; spaces beside go with those that want them. */
function takeOut(text: string, tokens: readonly AddedToken[]): Part[] {
  const longestFirst = [...tokens].sort((a, b) => b.text.length - a.text.length);
  const parts: Part[] = [];
  let from = 0;
  const isWord = (c: string | undefined) => c !== undefined && /[\p{L}\p{N}_]/u.test(c);
  for (let i = 0; i < text.length; ) {
    const token = longestFirst.find(
      (t) => text.startsWith(t.text, i) && !(t.singleWord && (isWord(text[i - 1]) || isWord(text[i + t.text.length]))),
    );
    if (!token) {
      i++;
      continue;
    }
    let begin = i;
    let end = i + token.text.length;
    if (token.stripsLeft) while (begin > from && /\s/.test(text[begin - 1]!)) begin--;
    if (token.stripsRight) while (end < text.length && /\s/.test(text[end]!)) end++;
    if (begin > from) parts.push({ text: text.slice(from, begin) });
    parts.push({ id: token.id });
    from = end;
    i = end;
  }
  if (from < text.length) parts.push({ text: text.slice(from) });
  return parts;
}

/** Ranks of merges, by "left right". */
export function mergeRanks(merges: readonly JsonValue[]): Map<string, number> {
  const ranks = new Map<string, number>();
  for (const [rank, merge] of merges.entries()) {
    const pair = typeof merge === 'string' ? merge : isList(merge) ? merge.join(' ') : '';
    if (!ranks.has(pair)) ranks.set(pair, rank);
  }
  return ranks;
}

export interface Encoded {
  /** Tokens of the text itself. */
  readonly ids: readonly number[];
  /** Those that the post-processor puts before and after. */
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/**
 * Tokens of a text with the byte-level BPE that tokenizer.json describes: what `tokenizer.encode(text)` gives in
 * Python. Slow; it is there to recognise a tokeniser by a test string.
 * @returns undefined where tokenizer.json has a part that is not known here
 */
export function encodeText(
  folder: HfFolder,
  added: ReadonlyMap<number, AddedToken>,
  text: string,
): Encoded | undefined {
  const { tokenizer } = folder;
  const vocabulary = at(tokenizer, 'model', 'vocab');
  const normalise = readNormaliser(at(tokenizer, 'normalizer'));
  const splits = readSplits(at(tokenizer, 'pre_tokenizer'));
  const frame = readFrame(at(tokenizer, 'post_processor'));
  if (!isObject(vocabulary) || !normalise || !splits || !frame) return undefined;
  const ranks = mergeRanks(listAt(tokenizer, 'model', 'merges'));
  const ignoreMerges = flagAt(tokenizer, 'model', 'ignore_merges') ?? false;
  const ids: number[] = [];
  const tokens = [...added.values()];
  const parts = takeOut(
    text,
    tokens.filter(({ normalised }) => !normalised),
  ).flatMap((part) =>
    'id' in part
      ? [part]
      : takeOut(
          normalise(part.text),
          tokens.filter(({ normalised }) => normalised),
        ),
  );
  for (const part of parts) {
    if ('id' in part) {
      ids.push(part.id);
      continue;
    }
    for (const piece of splits.reduce<readonly string[]>((pieces, split) => split(pieces), [part.text])) {
      const merged = mergePieces(piece, vocabulary, ranks, ignoreMerges);
      if (!merged) return undefined;
      ids.push(...merged);
    }
  }
  return { ids, ...frame };
}
