import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readModelId, toTitle } from './modelId.js';

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
  test(id, () => {
    const found = readModelId(id, weights);
    assert.deepEqual(
      [found.basename, found.organization, found.finetune, found.version, found.sizeLabel],
      [basename, organization, finetune, version, sizeLabel],
    );
  });
}

test('titles', () => {
  assert.equal(toTitle('tinyllama-chat-v1.0-GGUF'), 'Tinyllama Chat v1.0 GGUF');
});
