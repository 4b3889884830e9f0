import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { StoppedError } from '../base/errors.js';
import { Random } from '../base/random.js';
import { readGguf } from '../formats/gguf/readGguf.js';
import { Tokenizer } from '../model/tokenizer.js';
import { scratchFolder } from '../testing/scratch.js';
import { writeTinyModel } from '../testing/tinyModel.js';
import { encodeExamples, histogram } from './encode.js';
import type { Example, Message } from './example.js';

const folder = scratchFolder();
const open = async (name: string, template?: string) => {
  const tokenizer = await Tokenizer.open(await readGguf(await writeTinyModel(join(folder, name), { template })));
  after(() => tokenizer[Symbol.dispose]());
  return tokenizer;
};
const tokenizer = await open('chatml.gguf');

const conversation = (...turns: string[]): Message[] =>
  turns.map((content, i) => ({ role: i % 2 === 0 ? 'user' : 'assistant', content }));
const example = (messages: Message[], index = 0): Example => ({ messages, source: { file: 'f', line: 1, index } });
const encode = (examples: Example[], maxTokens = 512, by = tokenizer) => encodeExamples(by, examples, { maxTokens });
const trainedText = ({ vocabulary }: Tokenizer, tokens: Int32Array, targets: Int32Array) =>
  vocabulary.text(
    targets.map((position) => tokens[position]!),
    true,
  );

describe('examples as tokens', () => {
  it('targets are the answer and the token that ends the turn; each can be predicted', async () => {
    const { sequences, tooLong } = await encode([example(conversation('Who?', 'The inn keeper.'))]);
    assert.deepEqual([sequences.length, tooLong], [1, []]);
    const { tokens, targets } = sequences[0]!;
    assert.equal(trainedText(tokenizer, tokens, targets), 'The inn keeper.<|im_end|>');
    assert.ok(targets[0]! > 0);
    targets.forEach((position, i) => {
      if (i > 0) assert.equal(position, targets[i - 1]! + 1);
    });
  });

  it('every answer of a conversation is learnt but those marked otherwise', async () => {
    const messages = conversation('1?', 'one', '2?', 'two', '3?', 'three');
    messages[3]!.train = false;
    const { sequences } = await encode([example(messages)]);
    const { tokens, targets } = sequences[0]!;
    assert.equal(trainedText(tokenizer, tokens, targets), 'one<|im_end|>three<|im_end|>');
  });

  it('one that is longer than the limit is left out whole and counted; one of just the limit is kept', async () => {
    const examples = ['a', 'aaaaaa', 'aaa'].map((answer, i) => example(conversation('Say', answer), i));
    const lengths = (await encode(examples)).sequences.map(({ tokens }) => tokens.length);
    for (const limit of [lengths[0]! - 1, ...lengths, lengths[1]! + 1]) {
      const { sequences, tooLong } = await encode(examples, limit);
      const fits = lengths.flatMap((n, i) => (n <= limit ? [i] : []));
      assert.deepEqual(
        sequences.map((sequence) => sequence.example),
        fits,
      );
      assert.deepEqual(
        tooLong,
        lengths.flatMap((tokens, i) => (tokens > limit ? [{ example: i, tokens }] : [])),
      );
    }
  });

  it('a template that rewrites earlier turns gives one sequence an answer, all of the same example', async () => {
    // Only the last user's turn is shown as a question.
    const rewriting =
      "{% for m in messages %}{% if m['role'] == 'user' and loop.index0 < messages|length - 2 %}(earlier){% else %}" +
      "{{ m['role'] + ':' + m['content'] }}{% endif %}<|im_end|>{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}";
    const other = await open('rewriting.gguf', rewriting);
    const messages = conversation('1?', 'one', '2?', 'two');
    const { sequences } = await encode([example(conversation('0?', 'nil')), example(messages)], 512, other);
    assert.deepEqual(
      sequences.map(({ tokens, targets, example: index }) => [index, trainedText(other, tokens, targets)]),
      [
        [0, 'nil<|im_end|>'],
        [1, 'one<|im_end|>'],
        [1, 'two<|im_end|>'],
      ],
    );
  });

  it('an answer of almost a megabyte is measured, not a crash', async () => {
    const { sequences, tooLong } = await encode([example(conversation('Say', 'a '.repeat(499_000)))]);
    assert.equal(sequences.length, 0);
    assert.ok(tooLong[0]!.tokens > 400_000);
  });

  it('stops when asked to', async () => {
    const run = encodeExamples(tokenizer, [example(conversation('a', 'b'))], {
      maxTokens: 512,
      signal: AbortSignal.abort(),
    });
    await assert.rejects(run, StoppedError);
  });
});

it('property: at most the buckets asked for, adjoining, round, and each length counted where it belongs', () => {
  const random = new Random(11);
  for (let round = 0; round < 500; round++) {
    const size = 10 ** random.below(7);
    const lengths = Array.from({ length: 1 + random.below(50) }, () => random.below(size + 1));
    const wanted = 2 + random.below(20);
    const buckets = histogram(lengths, wanted);
    assert.ok(buckets.length >= 1 && buckets.length <= wanted);
    const width = buckets[0]!.to - buckets[0]!.from;
    assert.match(String(width), /^[125]0*$/);
    for (const [i, { from, to, count }] of buckets.entries()) {
      assert.equal(to - from, width);
      assert.equal(from % width, 0);
      if (i > 0) assert.equal(from, buckets[i - 1]!.to);
      assert.equal(count, lengths.filter((length) => length >= from && length < to).length);
    }
    assert.equal(
      buckets.reduce((sum, { count }) => sum + count, 0),
      lengths.length,
    );
    assert.ok(buckets[0]!.count > 0 && buckets.at(-1)!.count > 0);
  }
});

it('edges', () => {
  assert.deepEqual(histogram([]), []);
  assert.deepEqual(histogram([7]), [{ from: 7, to: 8, count: 1 }]);
  assert.equal(histogram(Array.from({ length: 300_000 }, (_, i) => i)).length, 6);
  assert.throws(() => histogram([1.5]), RangeError);
  assert.throws(() => histogram([-1]), RangeError);
  assert.throws(() => histogram([1], 1), RangeError);
});
