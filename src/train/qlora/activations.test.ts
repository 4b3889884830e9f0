import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Random } from '../../base/random.js';
import { scratchFolder } from '../../testing/scratch.js';
import { ActivationCache } from './activations.js';

const folder = scratchFolder();
const width = 6;
const tokens = [5, 1, 700, 3, 12];
const random = new Random(2);
const block = (sequence: number) =>
  Uint16Array.from({ length: tokens[sequence]! * width }, () => random.below(0x1_0000));
const blocks = tokens.map((_, i) => block(i));

/** What `gather` should give: blocks one after the other, zeros up to `length` tokens each. */
function padded(members: readonly number[], length: number): Uint16Array {
  const out = new Uint16Array(members.length * length * width);
  members.forEach((member, i) => {
    out.set(blocks[member]!, i * length * width);
  });
  return out;
}

const backings: [string, () => Promise<ActivationCache>][] = [
  ['in memory', () => ActivationCache.create(tokens, width, folder, 1 << 20)],
  ['in a file', () => ActivationCache.create(tokens, width, folder, 0)],
];

for (const [name, create] of backings) {
  describe(`cached activations ${name}`, () => {
    it('come back as written, padded with zeros, in the order that is asked for', async () => {
      await using cache = await create();
      for (const sequence of [2, 0, 4, 3, 1]) await cache.write(sequence, blocks[sequence]!);
      assert.deepEqual(await cache.gather([0, 1, 3], 5), padded([0, 1, 3], 5));
      assert.deepEqual(await cache.gather([3, 1], 3), padded([3, 1], 3));
      assert.deepEqual(await cache.gather([4, 2], 700), padded([4, 2], 700));
      assert.deepEqual(await cache.gather([2], 700), blocks[2]);
      assert.deepEqual(await cache.gather([1, 1], 1), padded([1, 1], 1));
    });

    it('may be asked for several times at once', async () => {
      await using cache = await create();
      for (const sequence of tokens.keys()) await cache.write(sequence, blocks[sequence]!);
      const groups = [[2], [0, 3], [4, 1], [2, 4]];
      const got = await Promise.all(groups.map((members) => cache.gather(members, 700)));
      assert.deepEqual(
        got,
        groups.map((members) => padded(members, 700)),
      );
    });

    it('may be written from a part of a larger array', async () => {
      await using cache = await create();
      const large = Uint16Array.from({ length: 40 }, (_, i) => i);
      await cache.write(1, large.subarray(11, 11 + width));
      assert.deepEqual([...(await cache.gather([1], 1))], [11, 12, 13, 14, 15, 16]);
    });

    it('are refused where they have another size', async () => {
      await using cache = await create();
      await assert.rejects(cache.write(0, new Uint16Array(5 * width - 1)), RangeError);
      await assert.rejects(cache.write(0, new Uint16Array(5 * width + 1)), RangeError);
    });

    it('cannot be read before they are written', async () => {
      await using cache = await create();
      await assert.rejects(cache.gather([0], 5), /block 0 was read before it was written/);
      await cache.write(0, blocks[0]!);
      await assert.rejects(cache.gather([0, 1], 5), /block 1 was read before it was written/);
      assert.deepEqual(await cache.gather([0], 5), blocks[0]);
    });

    it('cannot be read before they are written, even where later ones are', async () => {
      await using cache = await create();
      await cache.write(3, blocks[3]!);
      await assert.rejects(cache.gather([0], 5), /block 0 was read before it was written/);
    });

    it('hold what all sequences begin with beside them', async () => {
      await using cache = await create();
      assert.throws(() => cache.opening, /opening was read before it was written/);
      const opening = Uint16Array.from({ length: 9 * width }, () => random.below(0x1_0000));
      cache.setOpening(opening);
      assert.deepEqual(cache.opening, opening);
    });
  });
}

it('makes no file of what fits into memory', async () => {
  const bytes = ActivationCache.bytes(tokens, width);
  assert.equal(bytes, 2 * width * 721);
  assert.equal(ActivationCache.usesDisk(bytes, bytes), false);
  assert.equal(ActivationCache.usesDisk(bytes, bytes - 1), true);
  const missing = join(folder, 'missing');
  await using cache = await ActivationCache.create(tokens, width, missing, bytes);
  await cache.write(0, blocks[0]!);
  assert.deepEqual(await cache.gather([0], 5), blocks[0]);
});
