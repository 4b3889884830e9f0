import assert from 'node:assert/strict';
import { it } from 'node:test';
import { LoamError } from './errors.js';
import { type JsonValue, parseJson } from './json.js';

/** What JSON.parse would give; only for texts without `__proto__`. */
function plain(value: JsonValue): unknown {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, v]) => [key, plain(v)]));
  return Array.isArray(value) ? value.map(plain) : value;
}

it('reads what JSON.parse reads, as it reads it', () => {
  const texts = [
    '{"a": [1, -2.5e-3, 0, -0, 1E+5], "b": {"c": null, "": [true, false]}, "d": [[], {}]}',
    ' \n\t"quote \\" slash \\/ \\\\ \\u00e9 \\ud83d\\ude00 é" ',
    '9007199254740991',
    '[]',
  ];
  for (const text of texts) assert.deepEqual(plain(parseJson(text, 'x')), JSON.parse(text));
});

it('refuses what JSON.parse refuses, and names the place', () => {
  const texts = [
    '',
    '{',
    '[1,]',
    '{"a":1,}',
    "{'a':1}",
    '01',
    '+1',
    '.5',
    '1.',
    'NaN',
    '-',
    '"a',
    '"\\x"',
    '"\n"',
    'truex',
    '1 2',
  ];
  for (const text of texts) {
    assert.throws(() => JSON.parse(text), text);
    assert.throws(
      () => parseJson(text, 'file.json'),
      (e) => e instanceof LoamError && /file\.json, line/.test(e.message),
      text,
    );
  }
  assert.throws(() => parseJson('{"a":\n  x}', 'f'), /line 2, column 3/);
});

it('refuses doubled keys, integers beyond 2^53, numbers beyond f64 and deep nesting', () => {
  assert.throws(() => parseJson('{"a":1,"\\u0061":2}', 'x'), /a key that stands twice/);
  assert.throws(() => parseJson('[9007199254740992]', 'x'), /2\^53/);
  assert.equal(parseJson('1000000000000000019884624838656', 'x', { bigIntegers: 'round' }), 1e30);
  assert.throws(() => parseJson('1e999', 'x'), /f64/);
  assert.throws(() => parseJson('['.repeat(100_000), 'x'), /nested/);
});

it('a key __proto__ is a key like any other', () => {
  const value = parseJson('{"__proto__": {"polluted": true}, "constructor": 1}', 'x') as ReadonlyMap<string, JsonValue>;
  assert.deepEqual([...value.keys()], ['__proto__', 'constructor']);
  assert.equal(({} as Record<string, unknown>).polluted, undefined);
});
