import assert from 'node:assert/strict';
import { it } from 'node:test';
import { parseJson } from '../../../base/json.js';
import { boundedRun, readSplits, translateRegex } from './encodeText.js';
import { testString } from './preTokenizer.js';

it('gives what the function gives, and passes its errors on', () => {
  assert.deepEqual(
    boundedRun(() => [1, 2], 60_000),
    [1, 2],
  );
  assert.throws(() => boundedRun(() => assert.fail('mine'), 60_000), /mine/);
});

it('an expression that would try for ever ends', () => {
  // Every way to cut 400 characters into runs is tried.
  assert.equal(
    boundedRun(() => [...testString.matchAll(/(?:[\s\S]+)+!!!!x/gu)], 50),
    undefined,
  );
});

const cut = (rules: object, text: string): string[] =>
  readSplits(parseJson(JSON.stringify(rules), 'x'))!.reduce<string[]>((pieces, split) => split(pieces), [text]);

it('byte-level, as GPT-2 cuts text', () => {
  const rules = { type: 'ByteLevel', add_prefix_space: false, use_regex: true };
  assert.deepEqual(cut(rules, "don't  stop 12!"), ['don', "'t", 'Ġ', 'Ġstop', 'Ġ12', '!']);
  assert.deepEqual(cut({ ...rules, add_prefix_space: true }, 'ä'), ['ĠÃ¤']);
  assert.deepEqual(cut({ ...rules, use_regex: false }, 'a b'), ['aĠb']);
});

it('digits and literal texts', () => {
  assert.deepEqual(cut({ type: 'Digits', individual_digits: true }, 'a12b'), ['a', '1', '2', 'b']);
  assert.deepEqual(cut({ type: 'Digits', individual_digits: false }, 'a12b'), ['a', '12', 'b']);
  for (const literal of ['.', '-', '(', '\\', '/']) {
    const rules = { type: 'Split', pattern: { String: literal }, behavior: 'Removed', invert: false };
    assert.deepEqual(cut(rules, `a${literal}b`), ['a', 'b'], literal);
  }
});

it('what lies between the matches, where a pattern is inverted', () => {
  const split = (behavior: string) =>
    cut({ type: 'Split', pattern: { Regex: '[a-z]+' }, behavior, invert: true }, 'ab12c-d');
  assert.deepEqual(split('Removed'), ['ab', 'c', 'd']);
  assert.deepEqual(split('Isolated'), ['ab', '12', 'c', '-', 'd']);
});

it('what is not known is not guessed', () => {
  for (const rules of [
    { type: 'Metaspace' },
    { type: 'Split', pattern: { Regex: 'a' }, behavior: 'MergedWithNext', invert: false },
    { type: 'Split', pattern: { Regex: 'a' }, behavior: 'MergedWithPrevious', invert: true },
    { type: 'Sequence', pretokenizers: [{ type: 'Digits', individual_digits: true }, { type: 'Other' }] },
  ]) {
    assert.equal(readSplits(parseJson(JSON.stringify(rules), 'x')), undefined);
  }
});

const pieces = (pattern: string, text: string) => [...text.matchAll(translateRegex(pattern)!)].map(([piece]) => piece);

it("Llama 3's expression cuts as Oniguruma does", () => {
  const pattern =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
  assert.deepEqual(pieces(pattern, "It'S 12345 Äpfel!!\n\n  x"), [
    'It',
    "'S",
    ' ',
    '123',
    '45',
    ' Äpfel',
    '!!\n\n',
    ' ',
    ' x',
  ]);
});

it('possessive quantifiers, scripts; quantifiers of properties stay', () => {
  assert.deepEqual(pieces('\\p{N}{1,3}+|\\p{Han}+|[a-z]++', '1234漢字abc'), ['123', '4', '漢字', 'abc']);
});

it('what JavaScript does not have is undefined', () => {
  for (const pattern of ['(', '\\p{Nonsense}', '(?x:a[b])', '(?>a)']) assert.equal(translateRegex(pattern), undefined);
});
