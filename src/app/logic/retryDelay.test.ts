import assert from 'node:assert/strict';
import { test } from 'node:test';
import { retryDelay } from './retryDelay.js';

test('waits longer each time, up to ten seconds, and never less than half of what it might', () => {
  for (let attempt = 1; attempt < 40; attempt++) {
    const [least, most] = [retryDelay(attempt, 0), retryDelay(attempt, 1)];
    assert.equal(most, Math.min(10_000, 500 * 2 ** (attempt - 1)));
    assert.equal(least, most / 2);
  }
});
