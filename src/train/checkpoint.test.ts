import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { LoamError } from '../base/errors.js';
import { Random } from '../base/random.js';
import { scratchFolder } from '../testing/scratch.js';
import { readCheckpoint, writeCheckpoint } from './checkpoint.js';
import { CHUNK_BYTES, encodePreamble, HASH_BYTES, slotPath } from './checkpointFile.js';

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
    const writer = new URL('./checkpoint.js', import.meta.url);
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

const newRunFolder = () => mkdtempSync(join(root, 'run-'));
const arrays = (...values: number[]) => new Map([['a', Float32Array.from(values)]]);

describe('writeCheckpoint', () => {
  it('takes the slots in turns, numbers go up, nothing else is left in the folder', async () => {
    const folder = newRunFolder();
    for (let step = 0; step < 5; step++) {
      const written = await writeCheckpoint(folder, 'auto', { step }, arrays(step));
      assert.deepEqual([written.slot, written.sequence], [step % 2, step]);
      assert.equal(written.path, slotPath(folder, written.slot));
      assert.equal(written.bytes, statSync(written.path).size);
      const { checkpoint, damaged } = await readCheckpoint(folder);
      assert.deepEqual(checkpoint, {
        header: { step },
        arrays: arrays(step),
        streams: new Set(),
        sequence: step,
        slot: written.slot,
      });
      assert.deepEqual(damaged, []);
    }
    assert.deepEqual(readdirSync(folder).sort(), ['checkpoint-0.loam', 'checkpoint-1.loam']);
    if (process.platform !== 'win32') assert.equal(statSync(slotPath(folder, 0)).mode & 0o777, 0o600);
  });

  it('writes the slot it is told, which is then the newest', async () => {
    const folder = newRunFolder();
    for (const slot of [1, 1, 0, 0] as const) {
      const { sequence } = await writeCheckpoint(folder, slot, { slot }, arrays());
      const { checkpoint } = await readCheckpoint(folder);
      assert.deepEqual([checkpoint!.slot, checkpoint!.sequence], [slot, sequence]);
    }
  });

  it('replaces an unreadable checkpoint before a good one', async () => {
    const folder = newRunFolder();
    await writeCheckpoint(folder, 0, { step: 1 }, arrays(1));
    writeFileSync(slotPath(folder, 1), 'not one');
    assert.equal((await writeCheckpoint(folder, 'auto', { step: 2 }, arrays(2))).slot, 1);
    assert.equal((await readCheckpoint(folder)).damaged.length, 0);
  });

  it('gives the same bytes for the same state', async () => {
    const [one, other] = [newRunFolder(), newRunFolder()];
    for (const folder of [one, other]) await writeCheckpoint(folder, 'auto', { step: 1, lr: 1e-3 }, arrays(1, 2, 3));
    assert.deepEqual(readFileSync(slotPath(one, 0)), readFileSync(slotPath(other, 0)));
  });

  it('a failure leaves what was there', async () => {
    const folder = newRunFolder();
    await writeCheckpoint(folder, 0, { step: 1 }, arrays(1));
    const before = readFileSync(slotPath(folder, 0));
    const broken = arrays(1).set('b', new Proxy(Float32Array.of(1), {}));
    await assert.rejects(writeCheckpoint(folder, 0, { step: 2 }, broken));
    await assert.rejects(writeCheckpoint(folder, 0, { step: Number.NaN }, arrays(1)), TypeError);
    assert.deepEqual(readFileSync(slotPath(folder, 0)), before);
    assert.deepEqual(readdirSync(folder), ['checkpoint-0.loam']);
  });

  it('explains a full disk and keeps both older checkpoints', async (t) => {
    const folder = newRunFolder();
    for (const step of [1, 2]) await writeCheckpoint(folder, 'auto', { step }, arrays(step));
    const file = await open(join(folder, 'any'), 'w');
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    let writes = 0;
    const { write } = file;
    t.mock.method(
      Object.getPrototypeOf(file) as typeof file,
      'write',
      function (this: typeof file, ...args: unknown[]) {
        // The header still fits, the data does not.
        if (writes++ > 0) throw full;
        return write.apply(this, args as Parameters<typeof write>);
      },
    );
    await assert.rejects(
      writeCheckpoint(folder, 'auto', { step: 3 }, arrays(3)),
      (error) => error instanceof LoamError && /the disk is full; free some space/.test(error.message),
    );
    t.mock.reset();
    await file.close();
    await rm(join(folder, 'any'));
    assert.equal(writes, 2);
    const { checkpoint, damaged } = await readCheckpoint(folder);
    assert.deepEqual([checkpoint!.header, damaged], [{ step: 2 }, []]);
    assert.deepEqual(readdirSync(folder).sort(), ['checkpoint-0.loam', 'checkpoint-1.loam']);
  });

  it('explains a slot that is a folder', async () => {
    const folder = newRunFolder();
    mkdirSync(slotPath(folder, 0));
    await assert.rejects(writeCheckpoint(folder, 0, {}, arrays(1)), LoamError);
  });

  it('large arrays go in pieces, between which other work is done', async () => {
    const folder = newRunFolder();
    // 64 MiB and a bit: hashed at once they would take about 40 ms on a fast machine, and 300 ms on a slow one.
    const large = new Float32Array(16 * (CHUNK_BYTES / 4) + 3).map((_, i) => i % 4099);
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    await writeCheckpoint(folder, 'auto', {}, new Map([['large', large]]));
    const { checkpoint } = await readCheckpoint(folder);
    clearInterval(timer);
    assert.ok(turns >= 16, `${turns} turns of the event loop`);
    assert.ok(Buffer.from(checkpoint!.arrays.get('large')!.buffer).equals(Buffer.from(large.buffer)));
  });
});
