import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Sequence } from '../data/encodeExamples.js';
import { Random } from '../util/random.js';
import { planShots, type ShotPlan } from './shots.js';

const sequence = (example: number, length: number): Sequence => ({
  tokens: new Int32Array(length),
  targets: Int32Array.of(1),
  example,
});

/** Sequences of different lengths; some examples have two. */
function randomSequences(random: Random): Sequence[] {
  return Array.from({ length: random.below(40) }, (_, example) =>
    Array.from({ length: random.below(4) === 0 ? 2 : 1 }, () => sequence(example, 2 + random.below(60))),
  ).flat();
}

describe('the plan of shots', () => {
  it('never lets an example teach itself, and keeps to the limits, whatever the data', () => {
    for (let seed = 0; seed < 200; seed++) {
      const random = new Random(seed);
      const sequences = randomSequences(random);
      const options = { shots: random.below(12), maxTokens: random.below(400), seed };
      const { prefixes, prefixOf } = planShots(sequences, options);
      assert.equal(prefixOf.length, sequences.length);
      for (const prefix of prefixes) {
        assert.ok(prefix.length > 0 && prefix.length <= options.shots);
        assert.ok(prefix.reduce((sum, i) => sum + sequences[i]!.tokens.length, 0) <= options.maxTokens);
        assert.equal(new Set(prefix.map((i) => sequences[i]!.example)).size, prefix.length, 'each example once');
      }
      sequences.forEach(({ example }, i) => {
        const prefix = prefixOf[i]!;
        assert.ok(prefix >= -1 && prefix < prefixes.length);
        // Nor by another sequence of its own.
        if (prefix >= 0) assert.ok(prefixes[prefix]!.every((shot) => sequences[shot]!.example !== example));
      });
      assert.deepEqual(planShots(sequences, options), { prefixes, prefixOf }, 'the same for the same seed');
    }
  });

  it('uses every example: half of them taught by the shots of the other half', () => {
    const sequences = Array.from({ length: 21 }, (_, i) => sequence(i, 5));
    const { prefixes, prefixOf } = planShots(sequences, { shots: 100, maxTokens: 1e6, seed: 3 });
    assert.deepEqual(prefixes.map((prefix) => prefix.length).sort(), [10, 11]);
    assert.deepEqual(
      [...prefixes.flat()].sort((a, b) => a - b),
      sequences.map((_, i) => i),
    );
    prefixes.forEach((prefix, p) => {
      for (const shot of prefix) assert.equal(prefixOf[shot], 1 - p);
    });
  });

  it('draws other shots for another seed', () => {
    const sequences = Array.from({ length: 40 }, (_, i) => sequence(i, 5));
    const plan = (seed: number) => planShots(sequences, { shots: 4, maxTokens: 1e6, seed });
    assert.notDeepEqual(plan(1), plan(2));
  });

  it('passes over an example that does not fit for shorter ones', () => {
    const sequences = Array.from({ length: 20 }, (_, i) => sequence(i, i % 2 ? 100 : 10));
    const { prefixes } = planShots(sequences, { shots: 3, maxTokens: 30, seed: 1 });
    assert.deepEqual(
      prefixes.map((prefix) => prefix.map((i) => sequences[i]!.tokens.length)),
      [
        [10, 10, 10],
        [10, 10, 10],
      ],
    );
  });

  const none = (n: number): ShotPlan => ({ prefixes: [], prefixOf: Array<number>(n).fill(-1) });
  const cases: [string, Sequence[], { shots: number; maxTokens: number }][] = [
    ['none are wanted', [sequence(0, 5), sequence(1, 5)], { shots: 0, maxTokens: 100 }],
    ['there is one example', [sequence(0, 5)], { shots: 4, maxTokens: 100 }],
    ['one example has all sequences', [sequence(0, 5), sequence(0, 6)], { shots: 4, maxTokens: 100 }],
    ['none fits', [sequence(0, 50), sequence(1, 50)], { shots: 4, maxTokens: 49 }],
    ['there is no room at all', [sequence(0, 50), sequence(1, 50)], { shots: 4, maxTokens: -7 }],
  ];
  for (const [name, sequences, options] of cases) {
    it(`is empty where ${name}`, () => {
      assert.deepEqual(planShots(sequences, { ...options, seed: 1 }), none(sequences.length));
    });
  }

  it('teaches only the half that has shots where one half is too long', () => {
    const sequences = [sequence(0, 5), sequence(1, 500)];
    const { prefixes, prefixOf } = planShots(sequences, { shots: 4, maxTokens: 100, seed: 1 });
    assert.deepEqual([prefixes, prefixOf], [[[0]], [-1, 0]]);
  });
});
