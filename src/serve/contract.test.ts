import assert from 'node:assert/strict';
import { it } from 'node:test';
import { samplingOptions } from '../llama/sampling.js';
import { SamplingInput } from './contract/chat.js';

it("how answers are drawn has the bounds of `loam chat`'s options", () => {
  const bounds = Object.entries(samplingOptions).map(([name, { min, max }]) => [name, { min, max }]);
  const taken = Object.entries(SamplingInput.properties).map(([name, schema]) => {
    const { minimum: min, maximum: max } = schema as { minimum?: number; maximum?: number };
    return [name, { min, max }];
  });
  assert.deepEqual(taken, bounds);
});
