import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../util/random.js';
import { axisTicks } from './axisTicks.js';

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
