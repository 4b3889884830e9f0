import assert from 'node:assert/strict';
import { it } from 'node:test';
import { asChance, plural, roughly, size, when } from './words.js';

it('a time is today or yesterday by the calendar here, not by hours', () => {
  const now = new Date(2026, 4, 3, 0, 30).getTime();
  const at = (hours: number) => when(new Date(now - hours * 3_600_000).toISOString(), now);
  assert.match(at(0.25), /^today, /);
  assert.match(at(1), /^yesterday, /);
  assert.match(at(24), /^yesterday, /);
  assert.doesNotMatch(at(25), /day,/);
  assert.equal(when('soon'), '');
});

it('figures are rounded to what a person reads', () => {
  assert.deepEqual([5, 33, 70, 240, 3_500, 7_560, 36_000].map(roughly), [
    'a few seconds',
    'about 30 seconds',
    'about a minute',
    'about 4 minutes',
    'about an hour',
    'about 2.1 hours',
    'about 10 hours',
  ]);
  assert.deepEqual([0, 999, 1_400, 999_600, 612e6, 1.44e9].map(size), [
    '0 bytes',
    '999 bytes',
    '1.4 kB',
    '1.0 MB',
    '612 MB',
    '1.4 GB',
  ]);
  assert.deepEqual([plural(1, 'example'), plural(3000, 'example')], ['1 example', '3,000 examples']);
  assert.deepEqual([Math.log(2), Math.log(20)].map(asChance), ['50%', '5.0%']);
});
