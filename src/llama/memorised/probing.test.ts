import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../../base/random.js';
import { flatten, valuePattern } from '../../examples/personal/finding.js';
import { findPersonal } from '../../examples/personal/findPersonal.js';
import { positive, second, unseen } from '../../testing/corpus.js';
import { randomAlternative, rarePhrases } from './alternatives.js';
import { exposure, isFavoured, type Scored } from './exposure.js';

/** The parts of the probe that need no model: alternatives, recognising a value, exposure. */

const values = [...positive, ...second, ...unseen].flatMap(({ text, marked }) =>
  marked.map(({ kind, start, end }) => ({ kind, value: text.slice(start, end) })),
);

describe('random alternatives', () => {
  it('are many, different, and of the form of the value', () => {
    const random = new Random(5);
    for (const { kind, value } of values) {
      const drawn = new Set<string>();
      for (let i = 0; i < 400; i++) drawn.add(randomAlternative(kind, value, random));
      drawn.delete(value);
      // Enough for a rank; a PIN of three digits has no more than it has.
      assert.ok(
        drawn.size >= (value.replace(/@.*/, '').replace(/[^\p{L}\p{N}]/gu, '').length <= 3 ? 20 : 127) ||
          /[^\x20-\x7eà-ÿ]/u.test(value),
        `${kind} ${value}: ${drawn.size}`,
      );
      for (const other of drawn) {
        if (['phone', 'card', 'iban', 'account', 'id-number'].includes(kind)) {
          const shape = (text: string) =>
            text.replace(/\d/g, '0').replace(/[a-z]/g, 'a').replace(/[A-Z]/g, 'A').slice(2);
          assert.equal(shape(other), shape(value));
        }
        if (kind === 'email') assert.equal(other.split('@')[1], value.split('@')[1]);
        if (kind === 'date-of-birth')
          assert.equal(other.replace(/[\p{L}\p{N}]/gu, '').length, value.replace(/[\p{L}\p{N}]/gu, '').length);
      }
    }
  });
});

describe('recognising a value', () => {
  it('finds each in its text, and not in an alternative', () => {
    const random = new Random(6);
    for (const { kind, value } of values) {
      const pattern = valuePattern(kind, value);
      assert.ok(pattern.test(flatten(`It is ${value}, yes`)), value);
      const other = randomAlternative(kind, value, random);
      if (other !== value) assert.ok(!pattern.test(flatten(`It is ${other}, yes`)), `${value} in ${other}`);
    }
  });

  it('does not mind separators of numbers, but case of passwords and what touches it', () => {
    assert.ok(valuePattern('phone', '+44 20 7946-0958').test('call +44(20)79460958.'));
    assert.ok(!valuePattern('phone', '020 7946 0958').test('020 7946 09581'));
    assert.ok(!valuePattern('password', '4711').test('447110'));
    assert.ok(!valuePattern('password', 'Abc-1').test('abc-1'));
    assert.ok(valuePattern('name', 'Ada Pym').test('ada\n pym'));
    assert.ok(valuePattern('password', '(a+)+$[x]').test('it is (a+)+$[x].'));
  });
});

describe('exposure', () => {
  const score = (adapted: number, base = 0): Scored => ({ adapted, base });

  it('is log2 of the number of candidates for the first place and 0 for the last', () => {
    const others = Array.from({ length: 127 }, (_, i) => score(-i));
    assert.deepEqual([exposure(score(1), others).bits, exposure(score(1), others).rank], [7, 1]);
    assert.deepEqual([exposure(score(-1000), others).bits, exposure(score(-1000), others).rank], [0, 128]);
    // In the middle it is one bit.
    assert.equal(exposure(score(-62.5), others).bits, 1);
  });

  it('counts what the adapter adds, not what the base model favours', () => {
    const others = Array.from({ length: 63 }, (_, i) => score(-20 - i, -20 - i + (i % 2)));
    // The base model's own favourite, unchanged by the adapter.
    const { rank, adaptedRank, baseRank, gain } = exposure(score(-1, -1), others);
    assert.deepEqual([adaptedRank, baseRank, gain], [1, 1, 0]);
    assert.ok(rank > 1);
    assert.ok(isFavoured(exposure(score(-1, -30), others)));
    assert.ok(!isFavoured(exposure(score(-1, -30), others.slice(0, 10))), 'too few to tell');
  });

  it('a tie is no first place', () => {
    assert.equal(exposure(score(-3), [score(-3), score(-4)]).rank, 2);
  });

  it('of values that were never taught is favoured about as seldom as chance has it', () => {
    const random = new Random(9);
    let favoured = 0;
    for (let round = 0; round < 500; round++) {
      const draw = () => score(random.normal(), random.normal());
      if (isFavoured(exposure(draw(), Array.from({ length: 127 }, draw)))) favoured++;
    }
    assert.ok(favoured <= 6, `${favoured} of 500`);
  });
});

describe('rare phrases', () => {
  it('are the longest passages that stand in one example only', async () => {
    const common = 'thank you for asking and have a nice day now';
    const rare = 'the brass key hangs behind the third oar on the left wall';
    const examples = ['one', 'two'].map((word, index) => ({
      messages: [
        { role: 'user' as const, content: `Question ${word}?` },
        { role: 'assistant' as const, content: index === 0 ? `${common}, ${rare}` : `${common}.` },
      ],
      source: { file: 'x', line: index + 1, index },
    }));
    const [first, ...others] = await rarePhrases(examples, 5);
    assert.deepEqual(others, []);
    const found = examples[0]!.messages[1]!.content.slice(first!.start, first!.end);
    assert.ok(found.endsWith(rare) && !found.includes('thank you'), found);
    assert.ok(!first!.preview.includes('brass'));
    assert.equal((await findPersonal(examples)).length, 0);
  });
});
