import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { scratchFolder } from '../testing/scratch.js';
import { LoamError } from '../util/errors.js';
import { CHUNK_BYTES, slotPath } from './checkpointFile.js';
import { readCheckpoint } from './readCheckpoint.js';
import { writeCheckpoint } from './writeCheckpoint.js';

const root = scratchFolder();
const newFolder = () => mkdtempSync(join(root, 'run-'));
const arrays = (...values: number[]) => new Map([['a', Float32Array.from(values)]]);

describe('writeCheckpoint', () => {
  it('takes the slots in turns, numbers go up, nothing else is left in the folder', async () => {
    const folder = newFolder();
    for (let step = 0; step < 5; step++) {
      const written = await writeCheckpoint(folder, 'auto', { step }, arrays(step));
      assert.deepEqual([written.slot, written.sequence], [step % 2, step]);
      assert.equal(written.path, slotPath(folder, written.slot));
      assert.equal(written.bytes, statSync(written.path).size);
      const { checkpoint, damaged } = await readCheckpoint(folder);
      assert.deepEqual(checkpoint, { header: { step }, arrays: arrays(step), sequence: step, slot: written.slot });
      assert.deepEqual(damaged, []);
    }
    assert.deepEqual(readdirSync(folder).sort(), ['checkpoint-0.loam', 'checkpoint-1.loam']);
    if (process.platform !== 'win32') assert.equal(statSync(slotPath(folder, 0)).mode & 0o777, 0o600);
  });

  it('writes the slot it is told, which is then the newest', async () => {
    const folder = newFolder();
    for (const slot of [1, 1, 0, 0] as const) {
      const { sequence } = await writeCheckpoint(folder, slot, { slot }, arrays());
      const { checkpoint } = await readCheckpoint(folder);
      assert.deepEqual([checkpoint!.slot, checkpoint!.sequence], [slot, sequence]);
    }
  });

  it('replaces an unreadable checkpoint before a good one', async () => {
    const folder = newFolder();
    await writeCheckpoint(folder, 0, { step: 1 }, arrays(1));
    writeFileSync(slotPath(folder, 1), 'not one');
    assert.equal((await writeCheckpoint(folder, 'auto', { step: 2 }, arrays(2))).slot, 1);
    assert.equal((await readCheckpoint(folder)).damaged.length, 0);
  });

  it('gives the same bytes for the same state', async () => {
    const [one, other] = [newFolder(), newFolder()];
    for (const folder of [one, other]) await writeCheckpoint(folder, 'auto', { step: 1, lr: 1e-3 }, arrays(1, 2, 3));
    assert.deepEqual(readFileSync(slotPath(one, 0)), readFileSync(slotPath(other, 0)));
  });

  it('a failure leaves what was there', async () => {
    const folder = newFolder();
    await writeCheckpoint(folder, 0, { step: 1 }, arrays(1));
    const before = readFileSync(slotPath(folder, 0));
    const broken = arrays(1).set('b', new Proxy(Float32Array.of(1), {}));
    await assert.rejects(writeCheckpoint(folder, 0, { step: 2 }, broken));
    await assert.rejects(writeCheckpoint(folder, 0, { step: Number.NaN }, arrays(1)), TypeError);
    assert.deepEqual(readFileSync(slotPath(folder, 0)), before);
    assert.deepEqual(readdirSync(folder), ['checkpoint-0.loam']);
  });

  it('explains a full disk and keeps both older checkpoints', async (t) => {
    const folder = newFolder();
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
    const folder = newFolder();
    mkdirSync(slotPath(folder, 0));
    await assert.rejects(writeCheckpoint(folder, 0, {}, arrays(1)), LoamError);
  });

  it('large arrays go in pieces, between which other work is done', async () => {
    const folder = newFolder();
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
