import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Random } from '../util/random.js';
import { histogram } from './histogram.js';

test('property: at most the buckets asked for, adjoining, round, and each length counted where it belongs', () => {
  const random = new Random(11);
  for (let round = 0; round < 500; round++) {
    const size = 10 ** random.below(7);
    const lengths = Array.from({ length: 1 + random.below(50) }, () => random.below(size + 1));
    const wanted = 2 + random.below(20);
    const buckets = histogram(lengths, wanted);
    assert.ok(buckets.length >= 1 && buckets.length <= wanted);
    const width = buckets[0]!.to - buckets[0]!.from;
    assert.match(String(width), /^[125]0*$/);
    for (const [i, { from, to, count }] of buckets.entries()) {
      assert.equal(to - from, width);
      assert.equal(from % width, 0);
      if (i > 0) assert.equal(from, buckets[i - 1]!.to);
      assert.equal(count, lengths.filter((length) => length >= from && length < to).length);
    }
    assert.equal(
      buckets.reduce((sum, { count }) => sum + count, 0),
      lengths.length,
    );
    assert.ok(buckets[0]!.count > 0 && buckets.at(-1)!.count > 0);
  }
});

test('edges', () => {
  assert.deepEqual(histogram([]), []);
  assert.deepEqual(histogram([7]), [{ from: 7, to: 8, count: 1 }]);
  assert.equal(histogram(Array.from({ length: 300_000 }, (_, i) => i)).length, 6);
  assert.throws(() => histogram([1.5]), RangeError);
  assert.throws(() => histogram([-1]), RangeError);
  assert.throws(() => histogram([1], 1), RangeError);
});
