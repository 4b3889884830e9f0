import assert from 'node:assert/strict';
import { test } from 'node:test';
import { translateRegex } from './translateRegex.js';

const pieces = (pattern: string, text: string) => [...text.matchAll(translateRegex(pattern)!)].map(([piece]) => piece);

test("Llama 3's expression cuts as Oniguruma does", () => {
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

test('possessive quantifiers, scripts; quantifiers of properties stay', () => {
  assert.deepEqual(pieces('\\p{N}{1,3}+|\\p{Han}+|[a-z]++', '1234漢字abc'), ['123', '4', '漢字', 'abc']);
});

test('what JavaScript does not have is undefined', () => {
  for (const pattern of ['(', '\\p{Nonsense}', '(?i:a[b])', '(?>a)']) assert.equal(translateRegex(pattern), undefined);
});
