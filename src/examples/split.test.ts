import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Random } from '../base/random.js';
import type { Example, Message } from './example.js';
import { questionKey, removeOverlap, splitExamples } from './split.js';

function example(file: string, line: number, ...turns: string[]): Example {
  const messages = turns.map((content, i): Message => ({ role: i % 2 === 0 ? 'user' : 'assistant', content }));
  return { messages, source: { file, line, index: line - 1 } };
}

it('what is also held out is removed, with the reason; the rest keeps its order', () => {
  const train = [
    example('t', 1, 'What is  IT?', 'secret one'),
    example('t', 2, 'other', 'b'),
    example('t', 3, 'Hi', 'a', 'more?', 'b'),
    example('t', 4, 'Hi', 'a', 'less?', 'b'),
    example('t', 5, 'Straße', 'x'),
  ];
  const heldout = [
    example('h', 7, ' what is it? ', 'c'),
    example('h', 8, 'Hi', 'z', 'More?', 'z'),
    example('h', 9, 'STRASSE', 'y'),
  ];
  const { train: kept, removed } = removeOverlap(train, heldout);
  assert.deepEqual(
    kept.map(({ source }) => source.line),
    [2, 4],
  );
  assert.deepEqual(
    removed.map(({ heldout: same }) => same.source.line),
    [7, 8, 9],
  );
  assert.equal(removed[0]!.reason, 'line 1 asks the same as line 7 of the held-out file h');
  assert.deepEqual(removeOverlap(train, []), { train, removed: [] });
});

function questionExample(question: string, index: number): Example {
  const messages: Example['messages'] = [
    { role: 'user', content: question },
    { role: 'assistant', content: `answer ${index}` },
  ];
  return { messages, source: { file: 'x', line: index + 1, index } };
}

const indices = (examples: readonly Example[]) => examples.map(({ source }) => source.index);

it('property: deterministic, disjoint, complete, in order, and no question on both sides', () => {
  const random = new Random(3);
  for (let round = 0; round < 300; round++) {
    const n = random.below(60);
    const questions = 1 + random.below(40);
    const spell = (q: number) => [`Was  ist ${q}? É`, `was ist ${q}? E\u0301 `, `WAS\tIST ${q}?\né`][random.below(3)]!;
    const examples = Array.from({ length: n }, (_, i) => questionExample(spell(random.below(questions)), i));
    const options = { fraction: [0.05, 0.1, 0.3, 0.5][random.below(4)]!, seed: round, minValidation: random.below(4) };
    const split = splitExamples(examples, options);
    assert.deepEqual(splitExamples(examples, options), split);
    const train = indices(split.train);
    const validation = indices(split.validation);
    assert.deepEqual(
      train,
      train.toSorted((a, b) => a - b),
    );
    assert.deepEqual(
      validation,
      validation.toSorted((a, b) => a - b),
    );
    assert.deepEqual(
      [...train, ...validation].toSorted((a, b) => a - b),
      examples.map((_, i) => i),
    );
    const held = new Set(split.validation.map(questionKey));
    assert.ok(split.train.every((e) => !held.has(questionKey(e))));
    assert.ok(validation.length <= n / 2);
    for (const { example: moved, to } of split.moved) assert.ok(split[to].includes(moved));
    assert.equal(new Set(split.moved.map(({ example: moved }) => moved)).size, split.moved.length);
    if (validation.length === 0) assert.ok(split.remark);
  }
});

it('without repeats the share is met exactly, and the seed decides', () => {
  const examples = Array.from({ length: 200 }, (_, i) => questionExample(`question ${i}`, i));
  const first = splitExamples(examples, { fraction: 0.1, seed: 1 });
  assert.equal(first.validation.length, 20);
  assert.deepEqual(first.moved, []);
  assert.equal(first.remark, undefined);
  assert.notDeepEqual(splitExamples(examples, { fraction: 0.1, seed: 2 }).validation, first.validation);
  assert.equal(splitExamples(examples, { fraction: 0.1, seed: 1, minValidation: 30 }).validation.length, 30);
  assert.equal(splitExamples(examples, { fraction: 0, seed: 1 }).validation.length, 0);
  // Pinned: a split must be the same on every device and in every version, or a resumed run would validate on what it learnt.
  assert.deepEqual(indices(splitExamples(examples.slice(0, 30), { seed: 0 }).validation), [12, 14, 22]);
});

it('small sets: none of 1, one of 2 to 9, with a remark', () => {
  for (let n = 0; n < 12; n++) {
    const examples = Array.from({ length: n }, (_, i) => questionExample(`question ${i}`, i));
    const { validation, remark } = splitExamples(examples, { seed: 5, minValidation: 3 });
    assert.equal(validation.length, n < 2 ? 0 : n < 10 ? 1 : 3);
    assert.ok(remark);
  }
});

it('a question asked too often stays in training; one question alone is never split', () => {
  const often = Array.from({ length: 90 }, (_, i) => questionExample('same', i));
  const rest = Array.from({ length: 10 }, (_, i) => questionExample(`other ${i}`, 90 + i));
  for (let seed = 0; seed < 20; seed++) {
    const { validation, moved } = splitExamples([...often, ...rest], { fraction: 0.05, seed });
    assert.equal(validation.length, 5);
    assert.ok(indices(validation).every((i) => i >= 90));
    assert.ok(moved.every(({ to }) => to === 'train'));
  }
  const alone = splitExamples(often, { seed: 1 });
  assert.equal(alone.validation.length, 0);
  assert.match(alone.remark!, /all examples ask the same/);
  const two = [...often, ...often.slice(0, 40).map((_, i) => questionExample('rarer', 100 + i))];
  assert.equal(splitExamples(two, { seed: 1 }).validation.length, 40);
});

it('options out of range are wrong usage', () => {
  assert.throws(() => splitExamples([], { fraction: 0.6, seed: 1 }), { name: 'UsageError' });
  assert.throws(() => splitExamples([], { fraction: Number.NaN, seed: 1 }), { name: 'UsageError' });
  assert.throws(() => splitExamples([], { seed: 1, minValidation: -1 }), { name: 'UsageError' });
});
