import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { readGguf } from '../formats/gguf/readGguf.js';
import { type GgufValue, i32s, strings, u32 } from '../formats/gguf/values.js';
import { scratchFolder } from '../testing/scratch.js';
import { writeTinyModel } from '../testing/tinyModel.js';
import { readHyperparameters } from './hyperparameters.js';

const bools = (value: boolean[]): GgufValue => ({ type: 'array', of: 'bool', value });
const folder = scratchFolder();
let files = 0;
const read = async (metadata: Record<string, GgufValue> = {}) => {
  const named = Object.entries(metadata).map(([part, value]) => [`qwen35.${part}`, value]);
  const path = join(folder, `${files++}.gguf`);
  await writeTinyModel(path, { family: 'qwen35', layers: 4, metadata: Object.fromEntries(named) });
  return readHyperparameters(await readGguf(path));
};

describe('layers with a gated delta net', () => {
  it('stand between those with attention', async () => {
    const { kinds, delta, taps, layers } = await read();
    assert.deepEqual(kinds, ['delta', 'attention', 'delta', 'attention']);
    assert.deepEqual(
      { delta, taps, layers },
      { delta: { keyHeads: 2, valueHeads: 4, headDim: 16 }, taps: 4, layers: 4 },
    );
  });

  it('are those that a file lists, if it does', async () => {
    const known = { full_attention_interval: u32(3) };
    for (const listed of [bools([true, true, false, true]), i32s([1, 1, 0, 1])] as GgufValue[]) {
      // The file's tensors are those of another order: libllama will say what it makes of them.
      assert.equal((await read({ ...known, 'attention.recurrent_layers': listed })).family.isForeign, true);
    }
    const { kinds } = await read({ ...known, 'attention.recurrent_layers': bools([true, false, true, false]) });
    assert.deepEqual(kinds, ['delta', 'attention', 'delta', 'attention']);
  });

  const ends: Record<string, [key: string, value: GgufValue]> = {
    'heads that do not divide': ['ssm.group_count', u32(3)],
    'no heads': ['ssm.time_step_rank', u32(0)],
    'values of another width than keys': ['ssm.inner_size', u32(128)],
    'a convolution over one token': ['ssm.conv_kernel', u32(1)],
    'a period of nothing': ['full_attention_interval', u32(0)],
    'as many layers that draft as there are': ['nextn_predict_layers', u32(4)],
    'a list of other layers': ['attention.recurrent_layers', i32s([1, 0, 1])],
    'three sections': ['rope.dimension_sections', i32s([3, 3, 2])],
    'sections of nothing': ['rope.dimension_sections', i32s([0, 0, 0, 0])],
    'sections as texts': ['rope.dimension_sections', strings(['3', '3', '2', '0'])],
    'sections below zero': ['rope.dimension_sections', i32s([11, -3, 0, 0])],
  };
  for (const [name, [key, value]] of Object.entries(ends)) {
    it(`${name}: refused before native code sees it`, async () => {
      await assert.rejects(read({ [key]: value }), { code: 'damaged' });
    });
  }

  it('with a position in the rotation that texts do not have are computed by libllama alone', async () => {
    const { family } = await read({ 'rope.dimension_sections': i32s([2, 2, 2, 2]) });
    assert.equal(family.isForeign, true);
  });
});
