import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../base/random.js';
import { scratchFolder } from '../testing/scratch.js';
import { HiddenStates } from './walker.js';

const folder = scratchFolder();
const sizes = [5, 1, 4096, 0, 17];
const random = new Random(3);
const block = (batch: number) => new Float32Array(sizes[batch]!).map(() => random.normal());

const backings: [string, () => Promise<HiddenStates>][] = [
  ['in memory', () => HiddenStates.create(sizes, folder, 1 << 20)],
  ['in a file', () => HiddenStates.create(sizes, folder, 0)],
];

for (const [name, create] of backings) {
  describe(`activations ${name}`, () => {
    it('come back as written, in any order, and again when written again', async () => {
      await using store = await create();
      assert.equal(store.inMemory, name === 'in memory');
      assert.equal(store.bytes, 4 * sizes.reduce((sum, n) => sum + n, 0));
      const blocks = sizes.map((_, batch) => block(batch));
      for (const batch of [2, 0, 4, 3, 1]) await store.write(batch, blocks[batch]!);
      for (const batch of [1, 4, 0, 2, 3]) assert.deepEqual(await store.read(batch), blocks[batch]);
      const newer = block(2);
      await store.write(2, newer);
      assert.deepEqual(await store.read(2), newer);
      assert.deepEqual(await store.read(1), blocks[1], 'its neighbours are untouched');
    });

    it('may be a part of a larger array', async () => {
      await using store = await create();
      const large = new Float32Array(100).map((_, i) => i);
      await store.write(0, large.subarray(40, 45));
      assert.deepEqual([...(await store.read(0))], [40, 41, 42, 43, 44]);
    });

    it('of another size are refused', async () => {
      await using store = await create();
      await assert.rejects(store.write(0, new Float32Array(4)), RangeError);
      await assert.rejects(store.write(1, new Float32Array(2)), RangeError);
    });

    for (const [other, createOther] of backings) {
      it(`copy to a store ${other}, which then is on its own`, async () => {
        await using from = await create();
        await using to = await createOther();
        const blocks = sizes.map((_, batch) => block(batch));
        for (const batch of sizes.keys()) await from.write(batch, blocks[batch]!);
        await from.copyTo(to);
        await from.write(0, block(0));
        for (const batch of sizes.keys()) assert.deepEqual(await to.read(batch), blocks[batch]);
      });
    }
  });
}

it('stores together keep to the budget of memory', async () => {
  const bytes = 4 * sizes.reduce((sum, n) => sum + n, 0);
  const create = () => HiddenStates.create(sizes, folder, 2 * bytes);
  const first = await create();
  const second = await create();
  const third = await create();
  assert.deepEqual(
    [first, second, third].map(({ inMemory }) => inMemory),
    [true, true, false],
  );
  await first[Symbol.asyncDispose]();
  await using fourth = await create();
  assert.equal(fourth.inMemory, true);
  for (const store of [second, third]) await store[Symbol.asyncDispose]();
});
