import { isDeepStrictEqual } from 'node:util';
import { LoamError } from '../../base/errors.js';
import { type JsonValue, parseJson } from '../../base/json.js';
import { isList, isObject } from '../../base/jsonAccess.js';
import { normaliseText } from '../../examples/split.js';
import type { ToolCall } from '../../model/message.js';
import { sameCalls } from '../../model/toolForms/form.js';

/** How right an answer is, beside those that are accepted. Each score is from 0 to 1; of several accepted answers the best counts. */

/** A text as it is compared: case, white space, Unicode form and full stops at the end make no difference. */
export function comparable(text: string): string {
  return normaliseText(text).replace(/(\s*[.。．])+$/u, '');
}

const best = (answer: string, accepted: readonly string[], score: (answer: string, wanted: string) => number): number =>
  accepted.reduce((most, wanted) => Math.max(most, score(answer, wanted)), 0);

/** Whether the answer is one of those accepted (1) or not (0), as `comparable` sees them. */
export function exactMatch(answer: string, accepted: readonly string[]): number {
  return best(comparable(answer), accepted.map(comparable), (a, b) => (a === b ? 1 : 0));
}

/** Whether an accepted answer stands in the answer as a whole word or words. */
export function contains(answer: string, accepted: readonly string[]): number {
  return best(comparable(answer), accepted.map(comparable), (a, b) => (findWords(a, b) >= 0 ? 1 : 0));
}

/** A character that goes on with a word, of a script that puts spaces between words; `_` and `-` join the parts of a name. */
const inWord = /^[\p{L}\p{N}\p{M}_-]$/u;
const withoutSpaces =
  /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]$/u;

function joins(left: string | undefined, right: string | undefined): boolean {
  if (left === undefined || right === undefined) return false;
  return [left, right].every((character) => inWord.test(character) && !withoutSpaces.test(character));
}

/** Where `words` stands in a text, from `from` on, so that no word is cut; -1 if nowhere. Both `comparable`. */
function findWords(text: string, words: string, from = 0): number {
  if (words === '') return -1;
  for (let at = text.indexOf(words, from); at >= 0; at = text.indexOf(words, at + 1)) {
    const end = at + words.length;
    const before = [...text.slice(Math.max(0, at - 2), at)].at(-1);
    const after = [...text.slice(end, end + 2)][0];
    const cutsNumber =
      (/^\d/.test(words) && /\d[.,]$/.test(text.slice(Math.max(0, at - 2), at))) ||
      (/\d$/.test(words) && /^[.,]\d/.test(text.slice(end, end + 2)));
    if (!cutsNumber && !joins(before, words[0]) && !joins([...words].at(-1), after)) return at;
  }
  return -1;
}

/** Longest text whose edits are counted: the time grows with the product of two lengths. */
const MAX_EDIT_CHARACTERS = 20_000;

/** 1 less the edits (insert, delete, replace; Levenshtein 1966) from one text to the other by the longer one's characters. */
export function editSimilarity(answer: string, accepted: readonly string[]): number {
  return best(comparable(answer), accepted.map(comparable), (a, b) => {
    const [left, right] = [a, b].map((text) => [...text.slice(0, MAX_EDIT_CHARACTERS)]);
    const longest = Math.max(left!.length, right!.length);
    return longest === 0 ? 1 : 1 - distance(left!, right!) / longest;
  });
}

function distance(a: readonly string[], b: readonly string[]): number {
  let row = Uint32Array.from({ length: b.length + 1 }, (_, j) => j);
  let next = new Uint32Array(b.length + 1);
  for (const [i, character] of a.entries()) {
    next[0] = i + 1;
    for (let j = 1; j <= b.length; j++) {
      const same = character === b[j - 1];
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (same ? 0 : 1));
    }
    [row, next] = [next, row];
  }
  return row[b.length]!;
}

/** The object or list that a text is, or that the one fenced block of it is; undefined if it is none. */
export function jsonOf(text: string): JsonValue | undefined {
  const fenced = /^\s*```(?:json)?\s*\n([\s\S]*?)\n\s*```\s*$/i.exec(text);
  try {
    const value = parseJson((fenced?.[1] ?? text).trim(), 'the answer');
    return isObject(value) || isList(value) ? value : undefined;
  } catch (error) {
    if (error instanceof LoamError) return undefined;
    throw error;
  }
}

/** Whether both are the same JSON: fields in any order, lists in theirs, texts as written, 1 and 1.0 the same. */
export function sameJson(answer: string, accepted: readonly string[]): number {
  const value = jsonOf(answer);
  if (value === undefined) return 0;
  return accepted.some((wanted) => isDeepStrictEqual(value, jsonOf(wanted))) ? 1 : 0;
}

/** Whether the calls of tools are those wanted: as many, by name and arguments, in any order. */
export function equalCalls(calls: readonly ToolCall[], wanted: readonly ToolCall[]): number {
  const left = [...calls];
  for (const call of wanted) {
    const at = left.findIndex((one) => sameCalls([one], [call]));
    if (at < 0) return 0;
    left.splice(at, 1);
  }
  return left.length === 0 ? 1 : 0;
}

/**
 * Which choice an answer names: the one that it is; else the longest that it begins with; else the only one that stands in it. Whole
 * words in each case.
 * @param anywhere false: an answer that does not begin with a choice names none
 * @returns index of the choice; -1 for none
 */
export function chosen(answer: string, choices: readonly string[], anywhere = true): number {
  const text = comparable(answer);
  const forms = choices.map(comparable);
  const same = forms.indexOf(text);
  if (same >= 0) return same;
  let first = -1;
  const named: number[] = [];
  for (const [i, form] of forms.entries()) {
    const at = findWords(text, form);
    if (at < 0) continue;
    named.push(i);
    if (at === 0 && (first < 0 || form.length > forms[first]!.length)) first = i;
  }
  if (first >= 0) return first;
  return anywhere && named.length === 1 ? named[0]! : -1;
}
