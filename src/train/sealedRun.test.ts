import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, it } from 'node:test';
import { sealedFolder } from '../store/runKeys.js';
import { scratchFolder } from '../testing/scratch.js';
import { readCheckpoint, writeCheckpoint } from './checkpoint.js';
import { CHUNK_BYTES, slotPath } from './checkpointFile.js';
import { RunFolder } from './runFolder.js';

/** Runs whose folder is sealed with a key: they work as others do, and show nothing. */

const root = scratchFolder();
beforeEach(() => {
  process.env.LOAM_HOME = mkdtempSync(join(root, 'home-'));
});
const key = randomBytes(32);
const text = 'a telling text';
const shown = (folder: string) =>
  readdirSync(folder).filter((name) => readFileSync(join(folder, name)).includes(text) || name.includes('text'));

describe('a sealed checkpoint', () => {
  // Larger than what is encrypted at once, so that the parts must fit together.
  const arrays = new Map([
    ['a', new Float32Array(CHUNK_BYTES / 4 + 1001).map((_, i) => Math.sin(i))],
    ['b', Float32Array.of(1, Number.NaN, -0)],
  ]);

  it('comes back with its key, and with no other', async () => {
    const folder = mkdtempSync(join(root, 'run-'));
    for (let sequence = 0; sequence < 3; sequence++) {
      const written = await writeCheckpoint(folder, 'auto', { text, sequence }, arrays, key);
      assert.deepEqual([written.slot, written.sequence], [sequence % 2, sequence]);
      assert.equal(written.bytes, statSync(written.path).size);
      const { checkpoint, damaged } = await readCheckpoint(folder, key);
      assert.deepEqual(damaged, []);
      assert.deepEqual(checkpoint, {
        header: { text, sequence },
        arrays,
        streams: new Set(),
        sequence,
        slot: written.slot,
      });
    }
    assert.deepEqual(shown(folder), []);
    const [one, two] = ([0, 1] as const).map((slot) => readFileSync(slotPath(folder, slot)));
    assert.ok(!one!.subarray(-1000).equals(two!.subarray(-1000)), 'the same content twice looks different');
    for (const wrong of [randomBytes(32), undefined]) {
      const { checkpoint, damaged } = await readCheckpoint(folder, wrong);
      assert.equal(checkpoint, undefined);
      assert.equal(damaged.length, 2);
    }
  });

  it('is passed over where a bit has changed, or where it is not sealed', async () => {
    const folder = mkdtempSync(join(root, 'run-'));
    await writeCheckpoint(folder, 0, { text }, arrays, key);
    await writeCheckpoint(folder, 1, { text }, arrays, key);
    const path = slotPath(folder, 1);
    const good = readFileSync(path);
    for (const at of [0, 9, 30, 60, 200, good.length - 40, good.length - 1]) {
      const bad = Buffer.from(good);
      bad[at]! ^= 1;
      writeFileSync(path, bad);
      const { checkpoint, damaged } = await readCheckpoint(folder, key);
      assert.deepEqual([checkpoint?.slot, damaged.map(({ file }) => file)], [0, [path]], `byte ${at}`);
    }
    await writeCheckpoint(folder, 1, { text }, arrays);
    assert.match((await readCheckpoint(folder, key)).damaged[0]!.reason, /not a sealed checkpoint/);
  });
});

describe('a sealed run folder', () => {
  const identity = { data: text, options: { rank: 8 } };

  it('belongs to its key, goes on, and shows nothing', async () => {
    {
      await using run = await RunFolder.open(`vault:${text}`, key);
      assert.equal(run.path, sealedFolder(process.env.LOAM_HOME!, key));
      await run.start(identity);
      await run.record({ type: 'step', step: 1, text });
      await run.record({ type: 'step', step: 2, text });
      assert.deepEqual(shown(run.path), []);
    }
    await using run = await RunFolder.open('another name', key);
    const begun = await run.begun();
    assert.deepEqual(typeof begun === 'object' && begun.identity, identity);
    await run.rewindMetrics(({ step }) => step === 1);
    assert.deepEqual(await run.metrics(), [{ type: 'step', step: 1, text }]);
    assert.deepEqual(shown(run.path), []);
    await using other = await RunFolder.open('another name', randomBytes(32));
    assert.notEqual(other.path, run.path);
    writeFileSync(join(other.path, 'run.json'), readFileSync(join(run.path, 'run.json')));
    assert.match(String(await other.begun()), /lacks the identity/, 'another key does not open it');
  });

  it('leaves nothing when its run has ended', async () => {
    {
      await using run = await RunFolder.open('x', key);
      await run.start(identity);
      await run.record({ step: 1 });
      await writeCheckpoint(run.path, 'auto', {}, new Map(), key);
      await run.finish();
    }
    assert.deepEqual(readdirSync(join(process.env.LOAM_HOME!, 'runs')), []);
  });
});
