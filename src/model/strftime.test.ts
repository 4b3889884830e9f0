import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { strftime } from './strftime.js';

// Expectations: Python 3, datetime.datetime(2027, 3, 5, 12).strftime(format), and of 2024-12-31.
describe('strftime', () => {
  it('writes dates as Python does, in English', () => {
    for (const [format, text] of [
      ['%d %b %Y', '05 Mar 2027'],
      ['%B %d, %Y', 'March 05, 2027'],
      ['%A, %-d %B', 'Friday, 5 March'],
      ['%a %e.%m.%y', 'Fri  5.03.27'],
      ['%F %T', '2027-03-05 12:00:00'],
      ['%H:%M %I %p', '12:00 12 PM'],
      ['%j %w %u', '064 5 5'],
      ['100%% of %Y', '100% of 2027'],
      ['%D %c', '03/05/27 Fri Mar  5 12:00:00 2027'],
      ['%-m/%-d', '3/5'],
    ] as const) {
      assert.equal(strftime(format, '2027-03-05'), text, format);
    }
    assert.equal(strftime('%j', '2024-12-31'), '366');
    assert.equal(strftime('%-H', '2024-12-31'), '12');
  });

  it('leaves what it does not know, and tells the present without a day', () => {
    assert.equal(strftime('%Q %', '2027-03-05'), '%Q %');
    const now = new Date();
    const year = strftime('%Y', undefined);
    assert.ok([now.getFullYear(), new Date().getFullYear()].map(String).includes(year));
  });
});
