import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { readGguf } from '../formats/gguf/readGguf.js';
import { bools, type GgufValue, i32s, u32 } from '../formats/gguf/values.js';
import { scratchFolder } from '../testing/scratch.js';
import { type TinyModelOptions, writeTinyModel } from '../testing/tinyModel.js';
import { readHyperparameters, streamWidth } from './hyperparameters.js';

const folder = scratchFolder();
let files = 0;
const read = async (
  differing: TinyModelOptions['differing'],
  metadata: Record<string, GgufValue> = {},
  ropeFactors = true,
) => {
  const named = Object.entries(metadata).map(([part, value]) => [`gemma4.${part}`, value]);
  const path = join(folder, `${files++}.gguf`);
  const options = { family: 'gemma4', layers: 6, period: 2, headDim: 32, kvHeads: 2, differing, ropeFactors } as const;
  await writeTinyModel(path, { ...options, metadata: Object.fromEntries(named) });
  return readHyperparameters(await readGguf(path));
};

describe('layers that differ', () => {
  it('have the sizes that a file lists', async () => {
    const { each, kinds, left, rope, local } = await read({ localHeadDim: 16, keysAlone: 1 });
    assert.deepEqual(each?.slice(0, 2), [
      { headDim: 16, kvHeads: 2, feedForward: 96 },
      { headDim: 32, kvHeads: 1, feedForward: 96 },
    ]);
    assert.deepEqual(kinds?.slice(4), ['attention', 'keysAlone']);
    assert.deepEqual([rope.dimensions, local?.rope.dimensions, left], [32, 16, undefined]);
  });

  it('share keys and values of the last two that have their own, beside the stream', async () => {
    const hyper = await read({ localHeadDim: 16, sharedKeys: 2, perLayer: 8 });
    assert.deepEqual(hyper.kinds, [...new Array(4).fill('attention'), 'sharedKeys', 'sharedKeys']);
    // Two heads of keys, and as many of values, of 16 and of 32 values.
    assert.deepEqual(hyper.left, [
      { layer: 2, from: 0, width: 32 },
      { layer: 3, from: 64, width: 64 },
    ]);
    assert.equal(streamWidth(hyper), hyper.embedding + 192);
    assert.deepEqual([hyper.perLayer, hyper.each?.at(-1)?.feedForward], [8, 192]);
  });

  it('share those of one only, where the others are not asked for', async () => {
    const windows = bools([true, true, true, false, true, true]);
    const hyper = await read({ localHeadDim: 32, sharedKeys: 2 }, { 'attention.sliding_window_pattern': windows });
    assert.deepEqual(hyper.left, [{ layer: 2, from: 0, width: 64 }]);
  });

  it('with other numbers of heads than those whose keys they share: libllama alone computes them, if it can', async () => {
    const { family } = await read(
      { localHeadDim: 16, sharedKeys: 2 },
      { 'attention.head_count_kv': i32s([2, 2, 2, 2, 2, 1]) },
    );
    assert.equal(family.isForeign, true);
  });

  it('without the factors that turn a part of a head are refused before native code sees them', async () => {
    await assert.rejects(read({ localHeadDim: 16 }, {}, false), { code: 'damaged', message: /rope_freqs/ });
  });

  const foreign: Record<string, Record<string, GgufValue>> = {
    'a window for every sixth layer, by a number': { 'attention.sliding_window_pattern': u32(6) },
    'as many that share as there are': { 'attention.shared_kv_layers': u32(6) },
    'keys of layers that see as much as each other': { 'attention.shared_kv_layers': u32(3) },
    'values of another width than keys in windows': { 'attention.value_length_swa': u32(32) },
  };
  for (const [name, metadata] of Object.entries(foreign)) {
    it(`${name}: libllama alone computes them, if it can`, async () => {
      assert.equal((await read({ localHeadDim: 16 }, metadata)).family.isForeign, true);
    });
  }

  const damaged: Record<string, Record<string, GgufValue>> = {
    'windows of some layers only': { 'attention.sliding_window_pattern': bools([true, false, true, false]) },
    'no heads of keys': { 'attention.head_count_kv': i32s([2, 2, 2, 0, 2, 2]) },
    'heads that do not divide': { 'attention.head_count_kv': i32s([2, 2, 2, 3, 2, 2]) },
    'a width that is none': { 'attention.key_length_swa': u32(0), 'attention.value_length_swa': u32(0) },
    'no window': { 'attention.sliding_window_pattern': bools(new Array(6).fill(false)) },
    'a window of nothing': { 'attention.sliding_window': u32(0) },
    'more rotated than there is of a head': { 'rope.dimension_count_swa': u32(64) },
    'an odd part of a head that is rotated': { 'rope.dimension_count_swa': u32(7) },
  };
  for (const [name, metadata] of Object.entries(damaged)) {
    it(`${name}: refused before native code sees it`, async () => {
      await assert.rejects(read({ localHeadDim: 16 }, metadata), { code: 'damaged' });
    });
  }
});
