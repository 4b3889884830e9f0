import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ThreadShare } from './ThreadShare.js';

/** Computes for some seconds while so many cores are free for it, a tenth of a second at a time. @returns threads at each time */
function compute(share: ThreadShare, free: number, seconds: number): number[] {
  return Array.from({ length: Math.round(10 * seconds) }, () => {
    const threads = share.now;
    share.note({ seconds: 0.1, cores: 0.1 * Math.min(free, threads) });
    return threads;
  });
}

describe('threads beside other programs', () => {
  it('are all as long as each gets its core', () => {
    assert.ok(compute(new ThreadShare(4), 4, 20).every((threads) => threads === 4));
    assert.ok(compute(new ThreadShare(1), 0.2, 20).every((threads) => threads === 1));
  });

  it('are as many as get a core, within a moment', () => {
    for (const [most, free, left] of [
      [2, 4 / 3, 1],
      [8, 7.1, 7],
      [8, 3.5, 3],
      [4, 0.3, 1],
    ] as const) {
      const share = new ThreadShare(most);
      compute(share, free, 0.2);
      assert.equal(share.now, left, `${most} threads on ${free} cores`);
    }
  });

  it('are seldom tried in vain', () => {
    const share = new ThreadShare(2);
    const tries = compute(share, 4 / 3, 120).filter((threads) => threads === 2);
    assert.ok(tries.length > 2 && tries.length < 30, `${tries.length} of 1200`);
  });

  it('come back when the cores are free again', () => {
    const share = new ThreadShare(4);
    compute(share, 1.5, 60);
    assert.ok(share.now < 4);
    compute(share, 4, 60);
    assert.equal(share.now, 4);
    assert.ok(compute(share, 4, 20).every((threads) => threads === 4));
  });

  it('are not judged by short computations', () => {
    const share = new ThreadShare(2);
    for (let i = 0; i < 10_000; i++) share.note({ seconds: 0.001, cores: 0 });
    assert.equal(share.now, 2);
  });
});
