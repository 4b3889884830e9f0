import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { Random } from '../base/random.js';
import { rounds } from '../testing/faults.js';
import { scratchFolder } from '../testing/scratch.js';
import { readCheckpoint, readStream, STREAM, type Stream, writeCheckpoint } from './checkpoint.js';
import { PREFIX_BYTES, SEAL_BYTES, slotPath } from './checkpointFile.js';

/** Damaged checkpoints: each is found, and the one before it is used. */

const root = scratchFolder();
const arrays = new Map([
  ['a', new Float32Array(120).map((_, i) => Math.sin(i))],
  ['none', new Float32Array(0)],
  ['b', Float32Array.of(1, Number.NaN, -0)],
]);

const blocks = [Float32Array.of(1, 2, 3), new Float32Array(0), Float32Array.of(Number.NaN, 4)];
const stream = {
  length: 5,
  async *blocks() {
    yield* blocks;
  },
};
const written = new Map<string, Float32Array | Stream>([...arrays, [`${STREAM}s`, stream]]);
const all = async <T>(items: AsyncIterable<T>) => {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
};

for (const key of [undefined, randomBytes(32)]) {
  it(`a checkpoint${key ? ', sealed,' : ''} with any bit changed, or cut off anywhere, is passed over`, async (t) => {
    const folder = mkdtempSync(join(root, 'run-'));
    for (const step of [11, 12, 13]) await writeCheckpoint(folder, 'auto', { step }, written, key);
    const { checkpoint } = await readCheckpoint(folder, key);
    assert.equal(checkpoint!.header.step, 13);
    assert.deepEqual(checkpoint!.arrays, arrays);
    assert.deepEqual([...checkpoint!.streams], [`${STREAM}s`]);
    const from = { folder, slot: checkpoint!.slot, key };
    assert.deepEqual(await all(readStream(from, `${STREAM}s`, [3, 0, 2])), blocks);
    for (const [name, sizes] of [
      ['s', [3]],
      ['t', [5]],
    ] as const) {
      await assert.rejects(all(readStream(from, STREAM + name, sizes)), { code: 'damaged' });
    }
    const path = slotPath(folder, checkpoint!.slot);
    const good = readFileSync(path);
    const seal = key ? SEAL_BYTES : 0;
    // The seal, magic, version and length, the JSON.
    const json = key ? 400 : good.readUInt32LE(12);
    const header = Math.min(good.length, seal + PREFIX_BYTES + json);
    const random = new Random(5, key ? 1 : 0);
    let [tried, survived] = [0, 0];
    const passesOver = async (bad: Uint8Array, what: string) => {
      writeFileSync(path, bad);
      tried++;
      const { checkpoint: found, damaged } = await readCheckpoint(folder, key);
      assert.equal(found?.header.step, 12, what);
      assert.deepEqual(found.arrays, arrays, what);
      assert.deepEqual(
        damaged.map(({ file }) => file),
        [path],
        what,
      );
      survived++;
    };
    const flip = (byte: number, mask: number) => {
      const bad = Buffer.from(good);
      bad[byte]! ^= mask;
      return bad;
    };
    for (let byte = 0; byte < header; byte++) {
      for (const mask of rounds(0, 1) ? [1, 2, 4, 8, 16, 32, 64, 128, 255] : [1, 255]) {
        await passesOver(flip(byte, mask), `byte ${byte} of the header, ${mask}`);
      }
    }
    for (let i = 0; i < rounds(200, 1000); i++) {
      const bit = random.below(8 * good.length);
      await passesOver(flip(bit >> 3, 1 << (bit & 7)), `bit ${bit}`);
    }
    for (let length = 0; length < good.length; length += rounds(3, 1)) {
      await passesOver(good.subarray(0, length), `${length} of ${good.length} bytes`);
    }
    await passesOver(Buffer.concat([good, Buffer.alloc(1)]), 'a byte more');
    writeFileSync(path, good);
    assert.equal((await readCheckpoint(folder, key)).checkpoint!.header.step, 13);
    t.diagnostic(`campaign 5: tried ${tried}, survived ${survived}`);
  });
}
