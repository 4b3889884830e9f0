import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { LoamError } from '../base/errors.js';
import { Random } from '../base/random.js';
import { rounds } from '../testing/faults.js';
import { scratchFolder } from '../testing/scratch.js';
import { ndArray } from './arrays.js';
import { openNpy, writeNpy } from './npy.js';
import { openNpz, writeNpz } from './npz.js';
import { openSafetensors, writeSafetensors } from './safetensors.js';

/** Array files changed at random: lengths, types, names, overlaps, cuts. */

const folder = scratchFolder();
const array = ndArray(
  Float32Array.from({ length: 64 }, (_, i) => i),
  [8, 8],
);

/** Texts that headers are made of, in the place of what stands there. */
const words = [
  ...['__proto__', 'constructor', 'F64', 'BF16', 'I64', "'<f8'", "'|O'", "'>f4'", 'True', 'None', '(8,)', '(8, 8, 8)'],
  ...['99999999', '-1', '9007199254740993', '18446744073709551615', '0', '1e9', '[', ']', '{', '}', '"', ',', ':'],
];

const kinds = {
  npy: {
    write: (path: string) => writeNpy(path, array),
    read: async (path: string) => {
      await using file = await openNpy(path);
      await file.read();
    },
  },
  npz: {
    write: (path: string) =>
      writeNpz(
        path,
        [
          { name: 'x', ...array },
          { name: 'y', ...array },
        ],
        { compress: true },
      ),
    read: async (path: string) => {
      await using file = await openNpz(path);
      for (const name of file.arrays.keys()) await file.read(name);
    },
  },
  safetensors: {
    write: (path: string) =>
      writeSafetensors(
        path,
        [
          { name: 'x', ...array },
          { name: 'y', ...array },
        ],
        [['a', 'b']],
      ),
    read: async (path: string) => {
      await using file = await openSafetensors(path);
      for (const name of file.tensors.keys()) await file.read(name);
    },
  },
};

describe('an array file', () => {
  for (const [kind, { write, read }] of Object.entries(kinds)) {
    it(`${kind}, changed anywhere, is read or refused, in memory that fits its size`, async (t) => {
      const path = join(folder, `mutant.${kind}`);
      await write(path);
      const good = readFileSync(path);
      await read(path);
      const total = rounds(500, 20_000);
      const random = new Random(13);
      const before = process.memoryUsage().arrayBuffers;
      let [refused, most] = [0, 0];
      for (let i = 0; i < total; i++) {
        writeFileSync(path, mutant(good, random));
        try {
          await read(path);
        } catch (error) {
          assert.ok(error instanceof LoamError, `round ${i}: ${(error as Error).stack}`);
          refused++;
        }
        most = Math.max(most, process.memoryUsage().arrayBuffers - before);
      }
      assert.ok(refused > total / 10, 'the changes hit what is checked');
      assert.ok(most < 64 << 20, `${most} bytes of buffers`);
      t.diagnostic(`campaign 13 (${kind}): tried ${total}, survived ${total} (${refused} refused)`);
    });
  }
});

function mutant(good: Buffer, random: Random): Buffer {
  const bad = Buffer.from(good);
  for (let k = 0; k <= random.below(4); k++) {
    const at = random.below(bad.length);
    const pick = random.below(5);
    if (pick === 0) bad[at] = random.below(256);
    else if (pick === 1) bad.write(words[random.below(words.length)]!, at, 'latin1');
    else if (pick === 2) bad.fill(random.below(2) * 255, at, Math.min(bad.length, at + 8));
    else if (pick === 3) bad.copyWithin(at, random.below(bad.length), bad.length - random.below(20));
    else return Buffer.concat([bad.subarray(0, at), bad.subarray(random.below(bad.length))]);
  }
  return bad;
}
