import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from './random.js';
import { bootstrapMean, pairedDifference, share } from './statistics.js';

const near = (found: number, expected: number, within = 5e-4) =>
  assert.ok(Math.abs(found - expected) < within, `${found}, expected ${expected}`);

describe('confidence intervals', () => {
  it("of a share are Wilson's", () => {
    // Newcombe 1998, Statistics in Medicine 17:857, table I, method 3.
    const rows = [
      [81, 263, 0.2553, 0.3662],
      [15, 148, 0.0624, 0.1605],
      [0, 20, 0, 0.1611],
      [1, 29, 0.0061, 0.1718],
    ] as const;
    for (const [successes, trials, low, high] of rows) {
      const found = share(successes, trials);
      near(found.low, low, 6e-5);
      near(found.high, high, 6e-5);
    }
    assert.equal(share(20, 20).high, 1);
    near(share(20, 20).low, 1 - 0.1611, 6e-5);
  });

  it('of a paired difference turn round with the order of the two', () => {
    const there = pairedDifference({ both: 30, gained: 12, lost: 2, neither: 6 });
    const back = pairedDifference({ both: 30, gained: 2, lost: 12, neither: 6 });
    near(there.mean, 0.2, 1e-12);
    near(there.low, -back.high, 1e-12);
    near(there.high, -back.low, 1e-12);
    assert.ok(there.low > 0 && there.high < 0.4);
  });

  it('of a paired difference have a width where all pairs agree', () => {
    const { mean, low, high } = pairedDifference({ both: 20, gained: 0, lost: 0, neither: 0 });
    assert.equal(mean, 0);
    assert.ok(low < -0.1 && high > 0.1);
    const all = pairedDifference({ both: 0, gained: 20, lost: 0, neither: 0 });
    assert.equal(all.high, 1);
    assert.ok(all.low > 0.6 && all.low < 0.9);
  });

  it('hold the truth in 95 of 100 samples', () => {
    const random = new Random(3);
    const trials = 400;
    const cells = { both: 0.5, gained: 0.25, lost: 0.05 };
    let paired = 0;
    let boot = 0;
    for (let sample = 0; sample < trials; sample++) {
      const counts = { both: 0, gained: 0, lost: 0, neither: 0 };
      for (let i = 0; i < 40; i++) {
        const u = random.uniform();
        const { both, gained, lost } = cells;
        counts[u < both ? 'both' : u < both + gained ? 'gained' : u < both + gained + lost ? 'lost' : 'neither']++;
      }
      const difference = pairedDifference(counts);
      if (difference.low <= 0.2 && difference.high >= 0.2) paired++;
      if (sample < 100) {
        const mean = bootstrapMean(Array.from({ length: 40 }, () => random.uniform() ** 2));
        if (mean.low <= 1 / 3 && mean.high >= 1 / 3) boot++;
      }
    }
    assert.ok(paired >= 0.93 * trials, `${paired} of ${trials}`);
    assert.ok(boot >= 88, `${boot} of 100`);
  });

  it('of a mean are the same each time', () => {
    const values = [0.1, 0.5, 0.9, 0.3];
    assert.deepEqual(bootstrapMean(values), bootstrapMean(values));
    assert.deepEqual(bootstrapMean([0.5, 0.5]), { mean: 0.5, low: 0.5, high: 0.5 });
  });
});
