import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sizeLabel } from './sizeLabel.js';

test('two digits at least, in thousands and up', () => {
  // gguf-py/tests and Python's own rounding, to even.
  const expected: [number, string][] = [
    [134_515_008, '135M'],
    [1_100_048_384, '1.1B'],
    [12_500_000, '12M'],
    [13_500_000, '14M'],
    [8_030_261_248, '8.0B'],
    [500, '0.50K'],
    [1_500_000_000_000, '1.5T'],
  ];
  for (const [weights, label] of expected) assert.equal(sizeLabel(weights), label);
});
