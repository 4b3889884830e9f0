import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { axisTicks, smoothPoints, thinPoints } from './curve.js';
import { Random } from './random.js';

/** The number that a label stands for. */
function parse(label: string): number {
  const units: Record<string, number> = { K: 1e3, M: 1e6, B: 1e9 };
  const unit = units[label.at(-1)!];
  return Number((unit ? label.slice(0, -1) : label).replaceAll(',', '')) * (unit ?? 1);
}

describe('axisTicks', () => {
  it('gives few round numbers within any bounds, evenly, with labels that are theirs and short', () => {
    const random = new Random(1);
    for (let i = 0; i < 2000; i++) {
      const size = 10 ** (24 * random.uniform() - 12);
      const low = (random.uniform() - 0.5) * size;
      const high = low + random.uniform() * size * 0.9 + 0.1 * size;
      const ticks = axisTicks(low, high, 4);
      const told = `${low} to ${high}: ${JSON.stringify(ticks)}`;
      assert.ok(ticks.length >= 2 && ticks.length <= 6, told);
      const step = ticks[1]!.at - ticks[0]!.at;
      assert.ok(
        [1, 2, 5].some((n) => Math.abs(Math.log10(step / n) - Math.round(Math.log10(step / n))) < 1e-6),
        told,
      );
      for (const [j, { at, label }] of ticks.entries()) {
        assert.ok(at >= low - 1e-6 * size && at <= high + 1e-6 * size, told);
        assert.ok(Math.abs(at - ticks[0]!.at - j * step) < 1e-6 * step * (j + 1), told);
        assert.ok(Math.abs(parse(label) - at) <= 1e-6 * step, told);
        assert.ok(label.length <= 8, told);
      }
    }
  });

  it('labels as people write', () => {
    const labels = (...args: Parameters<typeof axisTicks>) => axisTicks(...args).map(({ label }) => label);
    assert.deepEqual(labels(0, 2e-4, 4), ['0', '5e-5', '1e-4', '1.5e-4', '2e-4']);
    assert.deepEqual(labels(2.4, 3.6, 4), ['2.5', '3', '3.5']);
    assert.deepEqual(labels(0, 1, 4), ['0', '0.2', '0.4', '0.6', '0.8', '1']);
    assert.deepEqual(labels(0, 20_000, 4), ['0', '5K', '10K', '15K', '20K']);
    assert.deepEqual(labels(1, 812, 4, true), ['200', '400', '600', '800']);
    assert.deepEqual(labels(-0.1, 0.1, 4), ['-0.1', '-0.05', '0', '0.05', '0.1']);
  });

  it('counts whole things in whole numbers', () => {
    for (let high = 1; high < 50; high++) {
      const ticks = axisTicks(1, high + 0.5, 4, true);
      assert.ok(ticks.every(({ at }) => Number.isInteger(at)));
      assert.ok(ticks.length >= 1 && ticks.length <= 6, JSON.stringify(ticks));
    }
  });
});

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
