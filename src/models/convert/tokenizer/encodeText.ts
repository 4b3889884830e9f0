import { createContext, Script } from 'node:vm';
import { escapeRegExp } from '../../../base/format.js';
import type { JsonValue } from '../../../base/json.js';
import { at, flagAt, isList, isObject, listAt, textAt } from '../../../base/jsonAccess.js';
import type { HfFolder } from '../hfFolder.js';
import { type AddedToken, mergePieces, toByteCharacters } from './vocabulary.js';

/** Escapes and properties of Oniguruma that mean the same in JavaScript, as far as published tokenisers use them. */

/** Letters in both cases, for (?i:...), which JavaScript knows only in its newest version. */
function ignoreCase(body: string): string {
  return body.replace(/[a-zA-Z]/g, (letter) => `[${letter.toLowerCase()}${letter.toUpperCase()}]`);
}

const scripts = /\\([pP])\{(Han|Hiragana|Katakana|Hangul|Arabic|Hebrew|Latin|Greek|Cyrillic|Thai|Lao)\}/g;

/**
 * A regular expression of tokenizer.json (Oniguruma) as one of JavaScript.
 * @returns undefined where it uses what JavaScript does not have
 */
export function translateRegex(pattern: string): RegExp | undefined {
  // Only groups of plain letters: anything else within would need a parser.
  const translated = pattern
    .replace(/\(\?i:([a-zA-Z'|]+)\)/g, (_, body: string) => `(?:${ignoreCase(body)})`)
    .replace(scripts, '\\$1{Script=$2}')
    // Possessive quantifiers: what they match here is the same, only found without trying again.
    .replace(/([*+?]|\{\d+(?:,\d*)?\})\+/g, '$1');
  try {
    return new RegExp(translated, 'gu');
  } catch {
    return undefined;
  }
}

/** GPT-2's pattern, which `ByteLevel` uses by itself (tokenizers, pre_tokenizers/byte_level.rs). */
const gpt2 = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** One step: a piece of text becomes several. */
type Split = (pieces: readonly string[]) => string[];

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

/** @param invert what lies between the matches is what matches */
function splitBy(pattern: RegExp, behaviour: string, invert = false): Split | undefined {
  const partsOf = (piece: string) =>
    isolate(piece, pattern).map(({ text, matched }) => ({ text, matched: matched !== invert }));
  const each = (join: (parts: { text: string; matched: boolean }[]) => string[]): Split => {
    return (pieces) => pieces.flatMap((piece) => join(partsOf(piece)));
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
      const literal = textAt(preTokenizer, 'pattern', 'String');
      const regex = textAt(preTokenizer, 'pattern', 'Regex');
      const pattern = literal !== undefined ? new RegExp(escapeRegExp(literal), 'gu') : translateRegex(regex ?? '(');
      const split = pattern && splitBy(pattern, textAt(preTokenizer, 'behavior') ?? '', flagAt(preTokenizer, 'invert'));
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

interface Encoded {
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
      for (const id of merged) ids.push(id);
    }
  }
  return { ids, ...frame };
}

const script = new Script('run()');

/**
 * Runs a function for `milliseconds` at most: an expression out of a file may try for longer than the universe lasts.
 * @returns undefined where it took longer
 */
export function boundedRun<T>(run: () => T, milliseconds: number): T | undefined {
  try {
    return script.runInContext(createContext({ run }), { timeout: milliseconds }) as T;
  } catch (error) {
    if ((error as NodeJS.ErrnoException)?.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') return undefined;
    throw error;
  }
}
