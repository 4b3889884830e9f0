import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../util/random.js';
import { smoothPoints } from './smoothPoints.js';

describe('smoothPoints', () => {
  it('leaves a constant, and a few points, as they are', () => {
    for (const length of [0, 1, 2, 10, 1000]) {
      const points = Array.from({ length }, (_, x) => ({ x, y: 3 }));
      for (const [i, { x, y }] of smoothPoints(points).entries()) {
        assert.equal(x, i);
        assert.ok(Math.abs(y - 3) < 1e-12);
      }
    }
    const few = [5, 1, 4].map((y, x) => ({ x, y }));
    assert.deepEqual(smoothPoints(few), few);
  });

  it('takes most of the noise away and follows the trend', () => {
    const random = new Random(1);
    const points = Array.from({ length: 1000 }, (_, x) => ({ x, y: 3 - x / 1000 + random.normal() }));
    const smooth = smoothPoints(points).slice(100);
    const error = Math.sqrt(smooth.reduce((sum, { x, y }) => sum + (y - 3 + x / 1000) ** 2, 0) / smooth.length);
    // An exponential mean over a span of 50 leaves 1 / sqrt(50) of it.
    assert.ok(error < 0.25, String(error));
  });
});
