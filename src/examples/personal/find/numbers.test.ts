import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../../../base/random.js';
import { isDay, luhn, mod11_10, mod97, verhoeff } from './numbers.js';

/** Check digits against numbers that issuers and standards publish, and against what each scheme promises to detect. */

const digits = (length: number, random: Random) => Array.from({ length }, () => random.below(10)).join('');
/** Each number that differs in one digit. */
function* slips(number: string): Generator<string> {
  for (let i = 0; i < number.length; i++) {
    for (let d = 0; d < 10; d++) {
      if (String(d) !== number[i]) yield `${number.slice(0, i)}${d}${number.slice(i + 1)}`;
    }
  }
}

const schemes = [
  { name: 'Luhn', valid: luhn, published: ['79927398713', '4111111111111111', '378282246310005'] },
  { name: 'Verhoeff', valid: verhoeff, published: ['2363', '758722', '123451'] },
  { name: 'ISO 7064 MOD 11,10', valid: mod11_10, published: ['86095742719', '47036892816', '65929970489'] },
];

describe('check digits', () => {
  for (const { name, valid, published } of schemes) {
    it(`${name}: published numbers are right, and no slip of one digit is`, () => {
      for (const number of published) assert.ok(valid(number), number);
      const random = new Random(7);
      for (let round = 0; round < 30; round++) {
        const body = digits(10, random);
        // Exactly one check digit completes a body.
        const complete = Array.from({ length: 10 }, (_, d) => `${body}${d}`).filter(valid);
        assert.equal(complete.length, 1, body);
        for (const slip of slips(complete[0]!)) assert.ok(!valid(slip), `${complete[0]} and ${slip}`);
      }
    });
  }

  it('mod 97 is the remainder of the whole number, of any length', () => {
    const random = new Random(8);
    for (let round = 0; round < 50; round++) {
      const number = digits(1 + random.below(40), random);
      assert.equal(mod97(number), Number(BigInt(number) % 97n));
    }
    assert.equal(mod97('AZ'), Number(1035n % 97n));
  });

  it('knows the days of the calendar, leap years included', () => {
    for (const [y, m, d] of [
      [2000, 2, 29],
      [24, 2, 29],
      [1984, 12, 31],
    ])
      assert.ok(isDay(y!, m!, d!));
    for (const [y, m, d] of [
      [1900, 2, 29],
      [2023, 2, 29],
      [2024, 4, 31],
      [2024, 0, 1],
      [2024, 13, 1],
    ])
      assert.ok(!isDay(y!, m!, d!), `${y}-${m}-${d}`);
  });
});
