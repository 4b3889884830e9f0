import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { rateAt } from './schedule.js';

const cases = [
  { total: 100, warmup: 10, floor: 0 },
  { total: 100, warmup: 10, floor: 0.1 },
  { total: 37, warmup: 1, floor: 0.05 },
  { total: 5, warmup: 5, floor: 0 },
  { total: 1, warmup: 1, floor: 0 },
];

describe('the learning rate', () => {
  for (const { total, warmup, floor } of cases) {
    const rates = Array.from({ length: total }, (_, i) => rateAt(i + 1, total, warmup, floor));
    const name = `of ${total} steps, ${warmup} of them rising, down to ${floor}`;

    it(`${name} rises in equal parts to the peak`, () => {
      for (let step = 1; step <= warmup; step++) {
        assert.ok(Math.abs(rates[step - 1]! - step / warmup) < 1e-12, `${rates[step - 1]} at step ${step}`);
      }
      assert.equal(rates[warmup - 1], 1);
    });

    it(`${name} then falls all the way, never out of [floor, 1]`, () => {
      for (let step = warmup + 1; step <= total; step++) {
        assert.ok(rates[step - 1]! < rates[step - 2]!, `step ${step}`);
        assert.ok(rates[step - 1]! >= floor && rates[step - 1]! <= 1);
      }
    });

    if (total > warmup) {
      it(`${name} ends at the floor`, () => assert.ok(Math.abs(rates.at(-1)! - floor) < 1e-12));

      it(`${name} is the same distance from the middle on either side of half the way`, () => {
        // cos(π(1 - x)) = -cos(πx): the two halves of the fall mirror one another.
        const middle = floor + (1 - floor) / 2;
        for (let k = 0; k <= total - warmup; k++) {
          const early = rateAt(warmup + k, total, warmup, floor);
          const late = rateAt(total - k, total, warmup, floor);
          assert.ok(Math.abs(early + late - 2 * middle) < 1e-12);
        }
      });
    }
  }

  it('stays at the floor beyond the last step', () => assert.ok(Math.abs(rateAt(1000, 100, 10, 0.2) - 0.2) < 1e-12));
});
