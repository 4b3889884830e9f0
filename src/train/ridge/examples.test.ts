import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../../base/random.js';
import type { Sequence } from '../../examples/encode.js';
import { buildExamples, groupExamples, type Parts, planShots, type ShotPlan } from './examples.js';

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

  it('of a plain text the first token is not followed where shots stand before it', () => {
    const begin = Int32Array.of(7);
    const text = (...own: number[]): Sequence => ({
      tokens: Int32Array.of(7, ...own),
      targets: Int32Array.from(own, (_, i) => i + 1),
      example: own[0]!,
    });
    const parts = { train: [text(1, 2, 3), text(4, 5)], validation: [], heldout: [] };
    const { examples, prefixes } = buildExamples(parts, { prefixes: [[1]], prefixOf: [0, -1] }, begin);
    assert.deepEqual(
      prefixes.map((tokens) => [...tokens]),
      [[7, 4, 5]],
    );
    const [taught, alone] = examples;
    assert.deepEqual(
      [[...taught!.student.positions], [...taught!.targets]],
      [
        [1, 2],
        [2, 3],
      ],
    );
    assert.deepEqual(
      [[...taught!.teacher.positions], [...taught!.teacher.tokens]],
      [
        [0, 1],
        [1, 2, 3],
      ],
    );
    assert.deepEqual(
      [[...alone!.teacher.positions], [...alone!.targets]],
      [
        [0, 1],
        [4, 5],
      ],
    );
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

  it('general examples have no prefix, whatever the others have, and their batches lie among the learnt ones', () => {
    const parts = randomParts(new Random(2));
    const general = [sequence(new Random(7), 0), sequence(new Random(8), 1)];
    const plan = planShots(parts.train, { shots: 3, maxTokens: 1000, seed: 1 });
    const { examples } = buildExamples({ ...parts, general }, plan, opening);
    const found = examples.filter(({ part }) => part === 'general');
    assert.deepEqual(
      found.map(({ prefix, teacher, student }) => [prefix, teacher.tokens.length - student.tokens.length]),
      [
        [-1, 0],
        [-1, 0],
      ],
    );
    const walked = groupExamples(examples).student.flatMap(({ members }) => members.map((i) => examples[i]!.part));
    assert.equal(walked.filter((part) => part === 'general').length, 2);
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

const shotSequence = (example: number, length: number): Sequence => ({
  tokens: new Int32Array(length),
  targets: Int32Array.of(1),
  example,
});

/** Sequences of different lengths; some examples have two. */
function randomSequences(random: Random): Sequence[] {
  return Array.from({ length: random.below(40) }, (_, example) =>
    Array.from({ length: random.below(4) === 0 ? 2 : 1 }, () => shotSequence(example, 2 + random.below(60))),
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
    const sequences = Array.from({ length: 21 }, (_, i) => shotSequence(i, 5));
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
    const sequences = Array.from({ length: 40 }, (_, i) => shotSequence(i, 5));
    const plan = (seed: number) => planShots(sequences, { shots: 4, maxTokens: 1e6, seed });
    assert.notDeepEqual(plan(1), plan(2));
  });

  it('passes over an example that does not fit for shorter ones', () => {
    const sequences = Array.from({ length: 20 }, (_, i) => shotSequence(i, i % 2 ? 100 : 10));
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
    ['none are wanted', [shotSequence(0, 5), shotSequence(1, 5)], { shots: 0, maxTokens: 100 }],
    ['there is one example', [shotSequence(0, 5)], { shots: 4, maxTokens: 100 }],
    ['one example has all sequences', [shotSequence(0, 5), shotSequence(0, 6)], { shots: 4, maxTokens: 100 }],
    ['none fits', [shotSequence(0, 50), shotSequence(1, 50)], { shots: 4, maxTokens: 49 }],
    ['there is no room at all', [shotSequence(0, 50), shotSequence(1, 50)], { shots: 4, maxTokens: -7 }],
  ];
  for (const [name, sequences, options] of cases) {
    it(`is empty where ${name}`, () => {
      assert.deepEqual(planShots(sequences, { ...options, seed: 1 }), none(sequences.length));
    });
  }

  it('teaches only the half that has shots where one half is too long', () => {
    const sequences = [shotSequence(0, 5), shotSequence(1, 500)];
    const { prefixes, prefixOf } = planShots(sequences, { shots: 4, maxTokens: 100, seed: 1 });
    assert.deepEqual([prefixes, prefixOf], [[[0]], [-1, 0]]);
  });
});
