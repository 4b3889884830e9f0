import assert from 'node:assert/strict';
import { it } from 'node:test';
import { releaseMemory } from './releaseMemory.js';

it('releaseMemory collects arrays that nobody refers to', () => {
  const before = process.memoryUsage().arrayBuffers;
  // Written to, so that the pages are real. Out of scope when the loop ends.
  for (let i = 0; i < 4; i++) new Uint8Array(32 * 2 ** 20).fill(i + 1);
  releaseMemory();
  releaseMemory();
  assert.ok(process.memoryUsage().arrayBuffers - before < 32 * 2 ** 20);
});
