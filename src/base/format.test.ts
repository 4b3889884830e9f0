import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { bytes, count, duration, escapeRegExp, listFirst } from './format.js';

describe('numbers for people', () => {
  it('count groups digits by three, of numbers and bigints', () => {
    for (const n of [0, 7, 999, 1000, 123_456, 2 ** 31, 98_362_432]) {
      assert.equal(Number(count(n).replaceAll(',', '')), n);
      assert.match(count(n), /^\d{1,3}(,\d{3})*$/);
    }
    assert.equal(count(2n ** 64n), '18,446,744,073,709,551,616');
  });

  it('bytes are right to three digits, in the unit that keeps the number between 1 and 1000', () => {
    const units = { bytes: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 };
    for (let n = 1; n < 1e15; n = Math.ceil(n * 1.0137)) {
      const match = /^([\d,.]+) (bytes|kB|MB|GB|TB)$/.exec(bytes(n))!;
      const value = Number(match[1]!.replaceAll(',', ''));
      assert.ok(value >= 1 && value < 1000, `${n}: ${bytes(n)}`);
      assert.ok(Math.abs(value * units[match[2] as keyof typeof units] - n) <= 0.006 * n, `${n}: ${bytes(n)}`);
    }
    for (const n of [0, 1, 999]) assert.equal(bytes(n), `${n} bytes`);
    for (const n of [999_950, 999_999, 1_000_000]) assert.equal(bytes(n), '1.00 MB');
    assert.equal(bytes(98_362_432n), '98.4 MB');
  });

  it('a duration never shows 60 of a unit, and is right to its last digit', () => {
    const seconds = (text: string) => {
      const match = /^(?:(\d+) h )?(?:(\d+) min)?(?: ?(\d+(?:\.\d)?) s)?$/.exec(text)!;
      const [, h = '0', min = '0', s = '0'] = match;
      assert.ok(Number(min) < 60 && Number(s) < 60, text);
      return 3600 * Number(h) + 60 * Number(min) + Number(s);
    };
    for (let t = 0; t < 200_000; t = t * 1.0037 + 0.0137) {
      const text = duration(t);
      const step = text.includes('h') ? 60 : text.includes('.') ? 0.05 : 0.5;
      assert.ok(Math.abs(seconds(text) - t) <= step + 1e-9, `${t}: ${text}`);
    }
    assert.deepEqual([0, 4.21, 9.94, 9.96, 59.4, 59.6, 65, 3599.6, 7380].map(duration), [
      '0.0 s',
      '4.2 s',
      '9.9 s',
      '10 s',
      '59 s',
      '1 min 00 s',
      '1 min 05 s',
      '1 h 00 min',
      '2 h 03 min',
    ]);
  });
});

it('makes of a text an expression that matches it', () => {
  const all = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i)).join('');
  for (const flags of ['', 'u', 'iu']) assert.ok(new RegExp(`^${escapeRegExp(all)}$`, flags).test(all));
});

it('lists the first of several things, and how many more there are', () => {
  assert.equal(listFirst(['a', 'b']), 'a; b');
  assert.equal(listFirst(['a', 'b', 'c'], 3, ', '), 'a, b, c');
  assert.equal(listFirst(['a', 'b', 'c', 'd'], 3, ', '), 'a, b, c, and 1 more');
  assert.equal(listFirst(Array.from({ length: 1234 }, (_, i) => String(i))), '0; 1; 2; 3; 4; and 1,229 more');
});
