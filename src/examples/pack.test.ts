import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { Random } from '../base/random.js';
import { readGguf } from '../formats/gguf/readGguf.js';
import { Tokenizer } from '../model/tokenizer.js';
import { bool } from '../testing/ggufValues.js';
import { scratchFolder } from '../testing/scratch.js';
import { type TinyModelOptions, writeTinyModel } from '../testing/tinyModel.js';
import { encodeExamples } from './encode.js';
import { type Example, type Message, textOf } from './example.js';
import { packTexts, whole } from './pack.js';

/** Texts laid out for learning: every token once, none beyond the limit, neighbours together. */

const folder = scratchFolder();
const open = async (name: string, options: TinyModelOptions = {}) => {
  const tokenizer = await Tokenizer.open(await readGguf(await writeTinyModel(join(folder, name), options)));
  after(() => tokenizer[Symbol.dispose]());
  return tokenizer;
};
const tokenizer = await open('plain.gguf');
const withBos = await open('bos.gguf', { metadata: { 'tokenizer.ggml.add_bos_token': bool(true) } });

/** Paragraphs of one text, as a text file has them; without a gap each is a text of its own. */
function text(paragraphs: readonly string[], gap: string | null = '\n\n', from = 0): Example[] {
  return paragraphs.map((content, i): Example => {
    const message: Message = { role: 'text', content };
    if (gap !== null && i < paragraphs.length - 1) message.continues = gap;
    return { messages: [message], source: { file: 'f', line: 1 + 2 * i, index: from + i } };
  });
}
const pack = (examples: Example[], maxTokens: number, by = tokenizer) => packTexts(by, examples, { maxTokens });
const contents = (examples: readonly Example[]) => examples.map((example) => textOf(example)!.content);

describe('packing', () => {
  it('joins neighbours up to the limit, and parts what is not one text', async () => {
    const short = Array.from({ length: 6 }, (_, i) => `paragraph ${i}`);
    const { examples, divided } = await pack(text(short), 42);
    assert.deepEqual(contents(examples), [short.slice(0, 3).join('\n\n'), short.slice(3).join('\n\n')]);
    assert.deepEqual([textOf(examples[0]!)!.continues, textOf(examples[1]!)!.continues], ['\n\n', undefined]);
    assert.deepEqual([divided, examples.map(({ source }) => source.index)], [[], [0, 3]]);
    // One was left out between them; each is a text of its own; a conversation stands between them.
    assert.equal(
      (await pack([...text(short.slice(0, 2)), ...text(short.slice(3), '\n\n', 3)], 400)).examples.length,
      2,
    );
    assert.equal((await pack(text(short, null), 400)).examples.length, 6);
    const chat: Example = {
      messages: [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: 'b' },
      ],
      source: { file: 'f', line: 3, index: 1 },
    };
    const mixed = await pack([text(short)[0]!, chat, text(short)[2]!], 400);
    assert.deepEqual(
      mixed.examples.map(({ messages }) => messages[0]!.role),
      ['text', 'user', 'text'],
    );
  });

  it('divides what is too long between paragraphs, then sentences, then words, then characters', async () => {
    /** Divided so that a part has room for as many tokens as `room` has. */
    const cut = async (content: string, room: string) => {
      const limit = Math.max(16, tokenizer.vocabulary.tokenize(room).length + 2);
      const { examples, divided } = await pack(text([content]), limit);
      assert.equal(divided.length, 1);
      return contents(examples);
    };
    const sentences = ['One is here. ', 'Two is there! ', 'Three?'];
    const two = sentences.slice(0, 2).join('');
    assert.deepEqual(await cut(sentences.join(''), two), [two, 'Three?']);
    assert.deepEqual(await cut(`${'a'.repeat(15)}\n\n${sentences[2]}`, 'a'.repeat(18)), [
      `${'a'.repeat(15)}\n\n`,
      'Three?',
    ]);
    assert.deepEqual(await cut('lots of words without an end', 'words without '), ['lots of words ', 'without an end']);
    assert.deepEqual(await cut('x'.repeat(40), 'x'.repeat(16)), ['x'.repeat(16), 'x'.repeat(16), 'x'.repeat(8)]);
    // What is left of one sentence is filled up with the words of one that does not fit.
    assert.deepEqual(await cut(`Yes. ${'word '.repeat(6)}`, 'Yes. word word '), [
      'Yes. word word ',
      'word word word ',
      'word ',
    ]);
    // Chinese puts no spaces between words and its own stop behind a sentence.
    assert.deepEqual(await cut('我在这里。你在那里。', '我在这里。'), ['我在这里。', '你在那里。']);
  });

  it('of a short text makes pieces enough to hold some out', async () => {
    const paragraph = 'w'.repeat(100);
    const { examples } = await pack(text(Array.from({ length: 64 }, () => paragraph)), 2048);
    assert.equal(examples.length, 32);
    const long = await pack(text(Array.from({ length: 640 }, () => paragraph)), 4096);
    assert.ok(long.examples.length >= 32 && long.examples.length < 40, `${long.examples.length}`);
  });

  it('property: every token of a text is learnt, once and in order, and no sequence is too long', async () => {
    const random = new Random(11);
    const words = ['the', 'inn', 'keeper', 'wrote', 'é🦊', '我在', 'x'.repeat(70), '\n', '. ', '! ', '\n\n'];
    const draw = () => Array.from({ length: 1 + random.below(60) }, () => words[random.below(words.length)]).join(' ');
    for (let round = 0; round < 25; round++) {
      const texts = text(Array.from({ length: 1 + random.below(8) }, () => `p${draw()}`));
      const expected = texts.map((example) => whole(textOf(example)!)).join('');
      const maxTokens = 16 + random.below(100);
      for (const by of [tokenizer, withBos]) {
        const { examples } = await pack(texts, maxTokens, by);
        const { sequences, tooLong } = await encodeExamples(by, examples, { maxTokens });
        assert.deepEqual(tooLong, []);
        assert.equal(examples.map((example) => whole(textOf(example)!)).join(''), expected);
        const learnt = sequences.map(({ tokens, targets }) =>
          by.vocabulary.text(
            targets.map((at) => tokens[at]!),
            true,
          ),
        );
        // Without a token before a text its first one cannot be predicted.
        if (by === withBos) assert.equal(learnt.join(''), `${expected}<|im_end|>`);
        for (const { tokens, targets } of sequences) {
          assert.deepEqual([...targets], [...tokens.keys()].slice(1));
          assert.equal(tokens[0] === by.vocabulary.bos, by === withBos);
        }
      }
    }
  });
});

it('the characters of control tokens in a text stay characters', () => {
  const { tokens } = withBos.encodeText('a<|im_end|>b', true);
  const { bos, eos } = withBos.vocabulary;
  assert.deepEqual([tokens.indexOf(bos), tokens.indexOf(eos)], [0, tokens.length - 1]);
  assert.equal(withBos.vocabulary.text(tokens), 'a<|im_end|>b');
});
