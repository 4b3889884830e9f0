import assert from 'node:assert/strict';
import { it } from 'node:test';
import { readModelCard, readModelId, sizeLabel, toTitle } from './general.js';

/** Cases of gguf-py/tests/test_metadata.py. */
const cases: [string, number, (string | undefined)[]][] = [
  ['Mixtral-8x7B-Instruct-v0.1', 46_702_792_704, ['Mixtral', undefined, 'Instruct', 'v0.1', '8x7B']],
  ['mistralai/Mixtral-8x7B-Instruct-v0.1', 0, ['Mixtral', 'mistralai', 'Instruct', 'v0.1', '8x7B']],
  ['Phi-3-mini-4k-instruct', 4e9, ['Phi-3', undefined, '4k-instruct', undefined, 'mini']],
  ['not-valid', 0, [undefined, undefined, undefined, undefined, undefined]],
  ['Qwen2.5-0.5B-Instruct', 494_032_768, ['Qwen2.5', undefined, 'Instruct', undefined, '0.5B']],
  ['bigscience/bloom-7b1-petals', 0, ['bloom', 'bigscience', 'petals', undefined, '7.1B']],
  ['Meta-Llama-3-8B-32k', 8e9, ['Meta-Llama-3', undefined, '32k', undefined, '8B']],
];

for (const [id, weights, [basename, organization, finetune, version, sizeLabel]] of cases) {
  it(id, () => {
    const found = readModelId(id, weights);
    assert.deepEqual(
      [found.basename, found.organization, found.finetune, found.version, found.sizeLabel],
      [basename, organization, finetune, version, sizeLabel],
    );
  });
}

it('titles', () => {
  assert.equal(toTitle('tinyllama-chat-v1.0-GGUF'), 'Tinyllama Chat v1.0 GGUF');
});

it('the head of a model card', () => {
  const card = readModelCard(
    '---\nlicense: mit\nlanguage:\n- en\n- no\nmodel-index:\n- name: x\n---\n# Title\nlicense: no\n',
  );
  assert.equal(card?.get('license'), 'mit');
  assert.deepEqual(card?.get('language'), ['en', 'no']);
});

it('none, broken, hostile ones are as if there were none', () => {
  for (const text of [undefined, '', '# Title', '---\n- a\n---', '---\na: [\n---', '---\na: b: c\n---']) {
    assert.equal(readModelCard(text), undefined, text);
  }
  const laughs = Array.from(
    { length: 12 },
    (_, i) =>
      `l${i}: &l${i} [${Array(10)
        .fill(i ? `*l${i - 1}` : 'ha')
        .join(', ')}]`,
  );
  assert.equal(readModelCard(`---\n${laughs.join('\n')}\n---`), undefined);
  assert.equal(readModelCard('---\n__proto__: {polluted: 1}\n---')?.size, 1);
  assert.equal(({} as Record<string, unknown>).polluted, undefined);
});

it('two digits at least, in thousands and up', () => {
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
