import assert from 'node:assert/strict';
import { it } from 'node:test';
import { mergeRanks } from './encodeText.js';
import { mergePieces } from './vocabulary.js';

const vocabulary = new Map(['a', 'b', 'c', 'ab', 'bc', 'abc', 'abcabc', 'aa'].map((text, id) => [text, id]));
const ids = (...texts: string[]) => texts.map((text) => vocabulary.get(text)!);

it('the lowest rank first, the leftmost of equals', () => {
  const ranks = mergeRanks(['b c', ['a', 'b'], 'a bc', 'a a']);
  assert.deepEqual(mergePieces('abc', vocabulary, ranks, false), ids('abc'));
  assert.deepEqual(mergePieces('abab', vocabulary, ranks, false), ids('ab', 'ab'));
  assert.deepEqual(mergePieces('aaa', vocabulary, ranks, false), ids('aa', 'a'));
});

it('a whole word comes first where merges are ignored', () => {
  assert.deepEqual(mergePieces('abcabc', vocabulary, new Map(), true), ids('abcabc'));
  assert.deepEqual(mergePieces('abcabc', vocabulary, new Map(), false), ids('a', 'b', 'c', 'a', 'b', 'c'));
});

it('a part outside the vocabulary gives nothing', () => {
  assert.equal(mergePieces('axb', vocabulary, new Map(), false), undefined);
});
