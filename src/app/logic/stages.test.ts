import assert from 'node:assert/strict';
import { it } from 'node:test';
import { secondsInAll, secondsLeft, whereIs } from './stages.js';

const run = (stage: 'hash' | 'ridge' | 'qlora' | 'measure' | 'probe', done: number, method = 'auto') =>
  whereIs({ stage, progress: { done, total: 10 }, options: { method, ...(method === 'auto' && { shots: 16 }) } });

it('is one bar that only grows, over the stages of the method', () => {
  const all = [run('hash', 5), run('ridge', 0), run('ridge', 9), run('qlora', 5), run('measure', 1), run('probe', 10)];
  const shares = all.map(({ whole }) => whole);
  assert.deepEqual(
    shares,
    [...shares].sort((a, b) => a - b),
  );
  assert.equal(shares.at(-1), 1);
  assert.deepEqual(
    all.map(({ number, count }) => `${number} of ${count}`),
    ['1 of 5', '2 of 5', '2 of 5', '3 of 5', '4 of 5', '5 of 5'],
  );
  assert.deepEqual([run('qlora', 0, 'qlora').number, run('qlora', 0, 'qlora').count], [2, 4]);
  assert.deepEqual([run('measure', 0, 'ridge').number, run('measure', 0, 'ridge').count], [3, 4]);
  // By default training has no first fit before it; a model that cannot be trained so has nothing else.
  assert.equal(whereIs({ stage: 'qlora', options: {} }).count, 4);
  assert.deepEqual(
    [whereIs({ stage: 'ridge', options: {} }).number, whereIs({ stage: 'ridge', options: {} }).count],
    [2, 4],
  );
  assert.equal(whereIs({ options: {} }).number, 1);
});

it('tells time by the pace, and does not call minutes a moment', () => {
  assert.equal(secondsLeft({ stage: 'measure', share: 0, at: 0 }, { stage: 'measure', share: 0.25, at: 10_000 }), 30);
  assert.equal(
    secondsLeft({ stage: 'measure', share: 0, at: 0 }, { stage: 'probe', share: 0.5, at: 10_000 }),
    undefined,
  );
  assert.equal(
    secondsLeft({ stage: 'qlora', share: 0.5, at: 0 }, { stage: 'qlora', share: 0.5, at: 10_000 }),
    undefined,
  );
  assert.ok(secondsInAll(1, run('qlora', 9)) >= 15);
  assert.equal(secondsInAll(3, run('probe', 9)), 3);
  // Half of learning, then two stages of 10 for its 55.
  assert.ok(Math.abs(secondsInAll(275, run('qlora', 5)) - 475) < 1e-9);
});
