import assert from 'node:assert/strict';
import { test } from 'node:test';
import { boundedRun } from './boundedRun.js';
import { testString } from './knownTokenizers.js';

test('gives what the function gives, and passes its errors on', () => {
  assert.deepEqual(
    boundedRun(() => [1, 2], 60_000),
    [1, 2],
  );
  assert.throws(() => boundedRun(() => assert.fail('mine'), 60_000), /mine/);
});

test('an expression that would try for ever ends', () => {
  // Every way to cut 400 characters into runs is tried.
  assert.equal(
    boundedRun(() => [...testString.matchAll(/(?:[\s\S]+)+!!!!x/gu)], 50),
    undefined,
  );
});
