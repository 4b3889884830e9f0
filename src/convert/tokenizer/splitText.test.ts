import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseJson } from '../../util/parseJson.js';
import { readSplits } from './splitText.js';

const cut = (rules: object, text: string): string[] =>
  readSplits(parseJson(JSON.stringify(rules), 'x'))!.reduce<string[]>((pieces, split) => split(pieces), [text]);

test('byte-level, as GPT-2 cuts text', () => {
  const rules = { type: 'ByteLevel', add_prefix_space: false, use_regex: true };
  assert.deepEqual(cut(rules, "don't  stop 12!"), ['don', "'t", 'Ġ', 'Ġstop', 'Ġ12', '!']);
  assert.deepEqual(cut({ ...rules, add_prefix_space: true }, 'ä'), ['ĠÃ¤']);
  assert.deepEqual(cut({ ...rules, use_regex: false }, 'a b'), ['aĠb']);
});

test('digits and literal texts', () => {
  assert.deepEqual(cut({ type: 'Digits', individual_digits: true }, 'a12b'), ['a', '1', '2', 'b']);
  assert.deepEqual(cut({ type: 'Digits', individual_digits: false }, 'a12b'), ['a', '12', 'b']);
  for (const literal of ['.', '-', '(', '\\', '/']) {
    const rules = { type: 'Split', pattern: { String: literal }, behavior: 'Removed', invert: false };
    assert.deepEqual(cut(rules, `a${literal}b`), ['a', 'b'], literal);
  }
});

test('what is not known is not guessed', () => {
  for (const rules of [
    { type: 'Metaspace' },
    { type: 'Split', pattern: { Regex: 'a' }, behavior: 'MergedWithNext', invert: false },
    { type: 'Split', pattern: { Regex: 'a' }, behavior: 'Isolated', invert: true },
    { type: 'Sequence', pretokenizers: [{ type: 'Digits', individual_digits: true }, { type: 'Other' }] },
  ]) {
    assert.equal(readSplits(parseJson(JSON.stringify(rules), 'x')), undefined);
  }
});
