import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Sequence } from '../data/encodeExamples.js';
import { Random } from '../util/random.js';
import { buildExamples, type Parts } from './buildExamples.js';
import { planShots } from './shots.js';

const opening = Int32Array.of(901, 902, 903);

/** A rendered example: what the template puts first, a question, an answer whose tokens are the targets. */
function sequence(random: Random, example: number, first = opening): Sequence {
  const question = 1 + random.below(6);
  const answer = 1 + random.below(6);
  const own = Array.from({ length: question + answer }, () => random.below(900));
  const start = first.length + question;
  return {
    tokens: Int32Array.from([...first, ...own]),
    targets: Int32Array.from({ length: answer }, (_, i) => start + i),
    example,
  };
}

function randomParts(random: Random): Parts {
  const some = (n: number) => Array.from({ length: n }, (_, i) => sequence(random, i));
  return { train: some(2 + random.below(20)), validation: some(random.below(4)), heldout: some(random.below(4)) };
}

describe('examples for teacher and student', () => {
  it('look at the same tokens in both, each before the token to be predicted', () => {
    for (let seed = 0; seed < 50; seed++) {
      const random = new Random(seed);
      const parts = randomParts(random);
      const plan = planShots(parts.train, { shots: 4, maxTokens: 1000, seed });
      const { examples, prefixes } = buildExamples(parts, plan, opening);
      const sequences = [...parts.train, ...parts.validation, ...parts.heldout];
      assert.equal(examples.length, sequences.length);
      examples.forEach(({ student, teacher, targets, prefix, part }, i) => {
        const { tokens, targets: positions } = sequences[i]!;
        assert.deepEqual(student.tokens, tokens);
        assert.deepEqual(
          [...targets],
          Array.from(positions, (position) => tokens[position]),
        );
        for (const walked of [student, teacher]) {
          const next = Array.from(walked.positions, (position) => walked.tokens[position + 1]);
          assert.deepEqual(next, [...targets]);
        }
        assert.deepEqual(
          Array.from(teacher.positions, (position) => teacher.tokens[position]),
          Array.from(student.positions, (position) => student.tokens[position]),
        );
        // Read after its prefix, the teacher's part is the student's conversation continued: the opening stands once.
        const read = [...(prefixes[prefix] ?? []), ...teacher.tokens];
        assert.deepEqual(read.slice(0, opening.length), [...opening]);
        assert.equal(read.filter((token) => token === opening[0]).length, 1);
        assert.equal(
          part,
          i < parts.train.length
            ? 'train'
            : i < parts.train.length + parts.validation.length
              ? 'validation'
              : 'heldout',
        );
      });
    }
  });

  it('a prefix is the opening and its shots without theirs, in order', () => {
    const parts = randomParts(new Random(1));
    const plan = planShots(parts.train, { shots: 3, maxTokens: 1000, seed: 1 });
    const { prefixes } = buildExamples(parts, plan, opening);
    plan.prefixes.forEach((shots, i) => {
      const own = shots.flatMap((shot) => [...parts.train[shot]!.tokens.slice(opening.length)]);
      assert.deepEqual([...prefixes[i]!], [...opening, ...own]);
    });
  });

  it('training examples have the prefix planned for them, all others the first', () => {
    const parts = randomParts(new Random(2));
    const plan = planShots(parts.train, { shots: 3, maxTokens: 1000, seed: 1 });
    const { examples } = buildExamples(parts, plan, opening);
    for (const [i, { part, prefix }] of examples.entries()) {
      assert.equal(prefix, part === 'train' ? plan.prefixOf[i] : 0);
    }
  });

  it('without shots the teacher reads what the student reads', () => {
    const parts = randomParts(new Random(3));
    const plan = planShots(parts.train, { shots: 0, maxTokens: 1000, seed: 1 });
    const { examples, prefixes } = buildExamples(parts, plan, opening);
    assert.equal(prefixes.length, 0);
    for (const { prefix, student, teacher } of examples) {
      assert.equal(prefix, -1);
      assert.deepEqual(teacher, student);
    }
  });

  it('a conversation with another beginning (a system message of its own) stays whole', () => {
    const random = new Random(4);
    const others = [sequence(random, 0, Int32Array.of(901, 7)), sequence(random, 1, Int32Array.of())];
    const parts = { train: [...others, sequence(random, 2)], validation: [], heldout: [] };
    const plan = { prefixes: [[2]], prefixOf: [0, 0, -1] };
    const { examples } = buildExamples(parts, plan, opening);
    for (const i of [0, 1]) assert.deepEqual(examples[i]!.teacher, examples[i]!.student);
  });
});
