import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../util/random.js';
import { thinPoints } from './thinPoints.js';

describe('thinPoints', () => {
  it('leaves a short curve as it is', () => {
    const points = [1, 5, 2].map((y, x) => ({ x, y }));
    assert.equal(thinPoints(points, 3), points);
  });

  it('keeps the ends, the extremes and the order of a long one', () => {
    const random = new Random(2);
    for (const length of [11, 100, 5003]) {
      for (const most of [4, 10, 101]) {
        const points = Array.from({ length }, (_, x) => ({ x, y: random.normal() }));
        const thin = thinPoints(points, most);
        assert.ok(thin.length <= Math.max(most, 4) || length <= most);
        assert.deepEqual([thin[0], thin.at(-1)], [points[0], points.at(-1)]);
        const range = (list: readonly { y: number }[]) => [
          Math.min(...list.map(({ y }) => y)),
          Math.max(...list.map(({ y }) => y)),
        ];
        assert.deepEqual(range(thin), range(points));
        for (let i = 1; i < thin.length; i++) assert.ok(thin[i]!.x > thin[i - 1]!.x);
      }
    }
  });
});
