import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { scratchFolder } from '../testing/scratch.js';
import { Random } from '../util/random.js';
import { encodePreamble, HASH_BYTES, slotPath } from './checkpointFile.js';
import { readCheckpoint } from './readCheckpoint.js';
import { writeCheckpoint } from './writeCheckpoint.js';

const root = scratchFolder();
const newFolder = () => mkdtempSync(join(root, 'run-'));

/** A folder with the checkpoints of steps 0 (in slot 0) and 1 (in slot 1, the newest). */
async function twoCheckpoints(): Promise<string> {
  const folder = newFolder();
  for (const step of [0, 1]) {
    await writeCheckpoint(folder, 'auto', { step }, new Map([['a', Float32Array.of(step, 1, 2, 3)]]));
  }
  return folder;
}

describe('readCheckpoint', () => {
  it('finds none in an empty folder, nor in one that is not there', async () => {
    assert.deepEqual(await readCheckpoint(newFolder()), { damaged: [] });
    assert.deepEqual(await readCheckpoint(join(root, 'nowhere')), { damaged: [] });
  });

  it('gives every bit back: payloads of NaN, -0, denormals; empty arrays; views into larger ones; the order', async () => {
    const folder = newFolder();
    const bits = new Uint32Array(1000);
    const random = new Random(1);
    for (let i = 0; i < bits.length; i++) bits[i] = random.uniform() * 2 ** 32;
    bits.set([0x8000_0000, 0x7fc0_1234, 0xffff_ffff, 0x7f80_0001, 0x7f80_0000, 0xff80_0000, 1, 0x807f_ffff]);
    const all = new Float32Array(bits.buffer);
    const arrays = new Map([
      ['z', all],
      ['empty', new Float32Array(0)],
      ['a', all.subarray(1, 998)],
      ['__proto__', Float32Array.of(-0)],
    ]);
    await writeCheckpoint(folder, 'auto', {}, arrays);
    const { checkpoint } = await readCheckpoint(folder);
    assert.deepEqual([...checkpoint!.arrays.keys()], [...arrays.keys()]);
    for (const [name, array] of arrays) {
      const read = checkpoint!.arrays.get(name)!;
      const asBits = (x: Float32Array) => new Uint32Array(x.slice().buffer);
      assert.ok(read instanceof Float32Array);
      assert.deepEqual(asBits(read), asBits(array), name);
    }
  });

  it('passes over a truncated file, whatever its length', async () => {
    const folder = await twoCheckpoints();
    const whole = readFileSync(slotPath(folder, 1));
    for (let length = 0; length < whole.length; length++) {
      writeFileSync(slotPath(folder, 1), whole.subarray(0, length));
      const { checkpoint, damaged } = await readCheckpoint(folder);
      assert.deepEqual(checkpoint?.header, { step: 0 }, `${length} bytes`);
      assert.deepEqual(
        damaged.map(({ file }) => file),
        [slotPath(folder, 1)],
      );
    }
  });

  it('passes over a file in which any one bit is wrong', async () => {
    const folder = await twoCheckpoints();
    const whole = readFileSync(slotPath(folder, 1));
    for (let bit = 0; bit < 8 * whole.length; bit += 3) {
      const broken = Buffer.from(whole);
      broken[bit >> 3]! ^= 1 << (bit & 7);
      writeFileSync(slotPath(folder, 1), broken);
      const { checkpoint, damaged } = await readCheckpoint(folder);
      assert.deepEqual([checkpoint?.header, checkpoint?.slot, damaged.length], [{ step: 0 }, 0, 1], `bit ${bit}`);
    }
  });

  it('returns nothing, and two reasons, when both are damaged', async () => {
    const folder = await twoCheckpoints();
    truncateSync(slotPath(folder, 0), 50);
    writeFileSync(slotPath(folder, 1), 'not one');
    const { checkpoint, damaged } = await readCheckpoint(folder);
    assert.equal(checkpoint, undefined);
    assert.deepEqual(damaged.map(({ file }) => file).sort(), [slotPath(folder, 0), slotPath(folder, 1)]);
  });

  it('does not trust a damaged file that claims to be the newest, and the next one is newer still', async () => {
    const folder = await twoCheckpoints();
    const claim = encodePreamble({ sequence: 1000, header: { step: 9 }, arrays: [] });
    writeFileSync(slotPath(folder, 1), Buffer.concat([claim, Buffer.alloc(HASH_BYTES)]));
    const { checkpoint, damaged } = await readCheckpoint(folder);
    assert.deepEqual(
      [checkpoint?.header, damaged.map(({ reason }) => reason)],
      [{ step: 0 }, ['its SHA-256 does not match']],
    );
    await writeCheckpoint(folder, checkpoint!.slot === 0 ? 1 : 0, { step: 1 }, new Map());
    assert.deepEqual((await readCheckpoint(folder)).checkpoint?.header, { step: 1 });
  });

  it('allocates nothing for sizes that the file does not have', async () => {
    const folder = newFolder();
    const preamble = encodePreamble({ sequence: 1, header: {}, arrays: [{ name: 'a', length: 2 ** 40 }] });
    writeFileSync(slotPath(folder, 0), Buffer.concat([preamble, createHash('sha256').update(preamble).digest()]));
    const { damaged } = await readCheckpoint(folder);
    assert.match(damaged[0]!.reason, /its header tells of 4398046511/);
  });

  it('passes over a folder in the place of a checkpoint', async () => {
    const folder = await twoCheckpoints();
    copyFileSync(slotPath(folder, 1), slotPath(folder, 0));
    const other = newFolder();
    copyFileSync(slotPath(folder, 0), slotPath(other, 0));
    mkdirSync(slotPath(other, 1));
    const { checkpoint, damaged } = await readCheckpoint(other);
    assert.deepEqual(checkpoint?.header, { step: 1 });
    assert.deepEqual(damaged, [{ file: slotPath(other, 1), reason: 'this is a folder' }]);
  });

  it('a writer that is killed at any moment leaves a whole checkpoint', async () => {
    const folder = newFolder();
    const writer = new URL('./writeCheckpoint.js', import.meta.url);
    const script = `
      const { writeCheckpoint } = await import(${JSON.stringify(writer.href)});
      for (let step = 0; ; step++) {
        await writeCheckpoint(${JSON.stringify(folder)}, 'auto', { step }, new Map([['a', new Float32Array(300_000).fill(step)]]));
        process.stdout.write(step + '\\n');
      }`;
    for (let round = 0; round < 5; round++) {
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let last = -1;
      let text = '';
      child.stdout.setEncoding('utf8').on('data', (part: string) => {
        text += part;
        last = Number(text.trim().split('\n').at(-1));
        // At different points of a later write.
        if (last >= 1) setImmediate(() => child.kill('SIGKILL'));
      });
      await once(child, 'close');
      const { checkpoint, damaged } = await readCheckpoint(folder);
      assert.deepEqual(damaged, []);
      const { step } = checkpoint!.header as { step: number };
      assert.ok(step >= last, `step ${step}, ${last} was told to be written`);
      assert.ok(checkpoint!.arrays.get('a')!.every((value) => value === step));
      assert.ok(readdirSync(folder).filter((name) => name.endsWith('.loam')).length <= 2);
    }
  });
});
